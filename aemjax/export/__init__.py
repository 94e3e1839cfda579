"""Networks as files that other engines run, each checked against the model it came from."""
