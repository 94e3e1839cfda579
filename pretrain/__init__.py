"""The pretraining job: `python -m pretrain --config FILE --workdir DIR`."""
