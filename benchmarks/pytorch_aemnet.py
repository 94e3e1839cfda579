"""AemNet, AemNet-DW and AemResNet in PyTorch: the networks of `aemjax.models.create`.

Nothing here is of JAX or of this package. The names in a state dict are those that
`aemjax.export.pytorch_file` writes and reads:

    network = create("aemresnet", num_classes=10)
    network.load_state_dict(safetensors.torch.load_file(FILE))

In training, PyTorch's running variances are of samples where Flax's are of populations:
n / (n - 1) of them, for n values of a channel in a batch.
"""

import functools
from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional as F

FRAME_SAMPLES = 160  # 10 ms at 16 kHz
EMBEDDING_DIM = 512

# Kernel and stride of the two convolutions.
LLFS = {
    "llf1": (33, 16, 5, 2),
    "llf2": (9, 4, 5, 4),
    "llf-fast": (33, 16, 10, 2),
}

# Channels of conv3..conv11; a pool follows each group.
VGG_GROUPS = ((32,), (64, 64), (128, 128), (256, 256), (512, 512))

# Channels and first stride of the eight blocks.
RESNET18_BLOCKS = (
    (64, 1),
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
)


class Conv1d(nn.Conv1d):
    """Without bias, padded by (kernel - 1) // 2 in front and kernel // 2 behind."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int):
        padding = (kernel - 1) // 2
        super().__init__(inputs, outputs, kernel, stride, padding, bias=False)
        self.behind = kernel // 2 - padding  # what `padding` leaves out

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (0, self.behind)) if self.behind else x)


def conv2d(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Conv2d:
    """Without bias; kernels are odd."""
    padding = kernel // 2
    return nn.Conv2d(
        inputs, outputs, kernel, stride, padding, groups=groups, bias=False
    )


class LLF(nn.Module):
    """Audio "b t" -> an image "b 1 f 128": a row for each 10 ms."""

    def __init__(self, kernel1: int, stride1: int, kernel2: int, stride2: int):
        super().__init__()
        self.conv1 = Conv1d(1, 64, kernel1, stride1)
        self.bn1 = nn.BatchNorm1d(64)
        self.conv2 = Conv1d(64, 128, kernel2, stride2)
        self.bn2 = nn.BatchNorm1d(128)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool1d(FRAME_SAMPLES // (stride1 * stride2))

    def forward(self, audio: Tensor) -> Tensor:
        x = audio.unsqueeze(1)  # b 1 t
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.pool(x).transpose(1, 2).unsqueeze(1)


class SeparableConv(nn.Sequential):
    """Depthwise 3x3 and pointwise 1x1, each with BatchNorm and ReLU."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__(
            OrderedDict(
                depthwise=conv2d(inputs, inputs, 3, groups=inputs),
                depthwise_bn=nn.BatchNorm2d(inputs),
                depthwise_relu=nn.ReLU(inplace=True),
                pointwise=conv2d(inputs, outputs, 1),
                pointwise_bn=nn.BatchNorm2d(outputs),
                pointwise_relu=nn.ReLU(inplace=True),
            )
        )


class VGG(nn.Sequential):
    """conv3..conv11 with 2x2 pools that keep an incomplete last window.

    `width` scales all channels but those of a full, not separable, conv11.
    """

    def __init__(self, width: float, *, separable: bool = False):
        layers = OrderedDict()
        inputs, number = 1, 3
        for group in VGG_GROUPS:
            for channels in group:
                full_size = number == 11 and not separable
                outputs = channels if full_size else int(channels * width)
                if separable:
                    layers[f"conv{number}"] = SeparableConv(inputs, outputs)
                else:
                    layers[f"conv{number}"] = conv2d(inputs, outputs, 3)
                    layers[f"bn{number}"] = nn.BatchNorm2d(outputs)
                    layers[f"relu{number}"] = nn.ReLU(inplace=True)
                inputs, number = outputs, number + 1
            layers[f"pool{number - 1}"] = nn.MaxPool2d(2, ceil_mode=True)
        super().__init__(layers)
        self.channels = inputs


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut, projected where shapes differ."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = conv2d(inputs, outputs, 3, stride)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = conv2d(outputs, outputs, 3)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.projected = stride != 1 or inputs != outputs
        if self.projected:
            self.projection = conv2d(inputs, outputs, 1, stride)
            self.projection_bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.projected:
            x = self.projection_bn(self.projection(x))
        return self.relu(y + x)


class ResNet18(nn.Sequential):
    """A 3x3 stem, a 3x3/2 pool and eight blocks; `width` scales all channels."""

    def __init__(self, width: float):
        channels = int(64 * width)
        layers = OrderedDict(
            conv3=conv2d(1, channels, 3),
            bn3=nn.BatchNorm2d(channels),
            relu3=nn.ReLU(inplace=True),
            pool3=nn.MaxPool2d(3, stride=2, padding=1),
        )
        for number, (outputs, stride) in enumerate(RESNET18_BLOCKS, start=1):
            outputs = int(outputs * width)
            layers[f"block{number}"] = BasicBlock(channels, outputs, stride)
            channels = outputs
        super().__init__(layers)
        self.channels = channels


class AclNetHead(nn.Module):
    """Dropout and a 1x1 convolution on every place of the map, then their average."""

    reads_frames = True

    def __init__(self, num_classes: int, dropout: float):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear(EMBEDDING_DIM, num_classes)

    def forward(self, frames: Tensor) -> Tensor:  # b f w d
        # Of two linear maps, the average first: less arithmetic.
        return self.dense(self.dropout(frames).mean((1, 2)))


class AclNetXHead(nn.Module):
    """ReLU, dropout and a dense layer on the embedding."""

    reads_frames = False

    def __init__(self, num_classes: int, dropout: float):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear(EMBEDDING_DIM, num_classes)

    def forward(self, embedding: Tensor) -> Tensor:  # b d
        return self.dense(self.dropout(F.relu(embedding)))


class AemNet(nn.Module):
    """Front end -> backbone -> embedding -> head."""

    def __init__(
        self,
        frontend: nn.Module,
        backbone: nn.Module,
        head: nn.Module,
        *,
        embeds_by_pooling: bool,
    ):
        super().__init__()
        self.frontend = frontend
        self.backbone = backbone
        self.embedding = (
            nn.Identity()
            if embeds_by_pooling
            else nn.Linear(backbone.channels, EMBEDDING_DIM)
        )
        self.head = head
        self.apply(_initialize)

    def forward(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """(logits "b k", embedding "b 512") of standardised audio "b t"."""
        frames = self.backbone(self.frontend(audio)).permute(0, 2, 3, 1)  # b f w c
        if self.head.reads_frames:
            frames = self.embedding(frames)
            return self.head(frames), frames.mean((1, 2))
        embedding = self.embedding(frames.mean((1, 2)))
        return self.head(embedding), embedding


def _initialize(module: nn.Module) -> None:
    """As Flax does, but that it cuts the tails of the normal distribution off."""
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    elif isinstance(module, nn.Linear):
        nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
        nn.init.zeros_(module.bias)


BACKBONES = {
    "aemnet": VGG,
    "aemnet_dw": functools.partial(VGG, separable=True),
    "aemresnet": ResNet18,
}
DEFAULT_HEADS = {"aemnet": "acnet", "aemnet_dw": "aclnetx", "aemresnet": "aclnetx"}
HEADS = {"acnet": AclNetHead, "aclnetx": AclNetXHead}


def create(
    name: str,
    *,
    num_classes: int,
    frontend: str = "llf1",
    width: float = 1.0,
    head: str | None = None,
    dropout: float = 0.2,
) -> AemNet:
    """Builds a network.

    Args:
      name: of `BACKBONES`.
      frontend: of `LLFS`.
      width: multiplier of the backbone's channels.
      head: of `HEADS`; None: the published one.

    Raises:
      KeyError: on an unknown name.
    """
    return AemNet(
        LLF(*LLFS[frontend]),
        BACKBONES[name](width),
        HEADS[head or DEFAULT_HEADS[name]](num_classes, dropout),
        embeds_by_pooling=name == "aemnet",
    )
