"""Another registry's content: fetched once, verified, kept and served."""
