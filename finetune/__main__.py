"""Command line of the fine-tuning job."""

from aemjax.train.job import main
from finetune.train import train

if __name__ == "__main__":
    main(train)
