"""Megatron-core pretraining: recipe, model, data, loop, checkpoints, weight conversion."""
