"""From decisions to the shards Megatron reads."""
