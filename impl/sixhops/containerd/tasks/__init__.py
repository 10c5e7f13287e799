"""Shims and the processes that the fork server makes: started, kept in reserve, found again, buried."""
