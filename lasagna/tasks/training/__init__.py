"""Training of an assistant: the LightningModule, optimiser, trainable sets, weight averages and checkpoints."""
