"""How pictures and figures look."""

import warnings

# A name of a user's in letters that the font has not: a box stands for each, which needs no line of its own.
warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font")
