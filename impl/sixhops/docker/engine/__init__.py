"""Where the engine is and how it is spoken to: endpoints, contexts, HTTP, hijacked connections, ssh."""
