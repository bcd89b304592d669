"""Networks only: image tensor in, reconstruction out; no loss, no Lightning, no Hydra."""
