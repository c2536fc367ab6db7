"""Chat tokens: of our own chat, and of GetStream's."""
