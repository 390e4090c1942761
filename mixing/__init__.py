"""From decisions to the shards that Megatron reads."""
