"""The fine-tuning job: `python -m finetune --config FILE --workdir DIR`."""
