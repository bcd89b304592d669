"""The words of a run of seconds, for tests and tools."""

TINY = (
    "dataset=shapes",
    "dataset.train_size=96",
    "dataset.val_size=40",
    "dataset.test_size=50",
    "dataset.batch_size=32",
    "model=base",
    "model.channels=[4,8]",
    "model.hidden=[]",
    "model.latent=8",
    "trainer.max_epochs=2",
    "trainer.accelerator=cpu",
)
