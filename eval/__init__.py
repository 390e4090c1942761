"""Medical benchmarks: questions, prompts, vLLM answers, scores, the report."""
