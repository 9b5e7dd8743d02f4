"""Where samples come from: one transport per file, each a thread of the agent that emits SampleBlocks."""
