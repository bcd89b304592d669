"""The version of the code that runs, which need not be that of the last installation of a checkout."""

__version__ = "0.15.0"
