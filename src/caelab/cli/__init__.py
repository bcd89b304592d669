"""The command ``caelab``: each module parses the words of its commands, calls the domain, and prints."""
