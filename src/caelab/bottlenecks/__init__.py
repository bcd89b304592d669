"""What a latent passes on its way to the decoder: nothing, noise, a distribution, a codebook.

A file a kind. Networks know no kind, and a kind knows no network.
"""
