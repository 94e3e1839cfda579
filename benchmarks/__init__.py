"""Speed and size against peers measured in the same run: `python -m benchmarks`."""
