"""The frame that every front end makes of 10 ms."""

from jaxtyping import Array, Float

FRAME_SAMPLES = 160  # 10 ms at 16 kHz


def check_holds_a_frame(audio: Float[Array, "b t"]) -> None:
    """Refuses audio too short for one frame; of a symbolic length nothing is known.

    Raises:
      ValueError: naming its length.
    """
    if isinstance(audio.shape[1], int) and audio.shape[1] < FRAME_SAMPLES:
        raise ValueError(
            f"audio has {audio.shape[1]} samples, a frame needs {FRAME_SAMPLES} "
            "(10 ms at 16 kHz); pad or loop the clip"
        )
