"""Command line of the pretraining job."""

from aemjax.train.job import main
from pretrain.compile_only import compile_only
from pretrain.train import train

if __name__ == "__main__":
    main(train, compile_only=compile_only)
