"""A page in the browser, and its JSON API, to try a network on audio of one's own."""
