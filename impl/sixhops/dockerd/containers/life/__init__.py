"""What happens to a container from its creation to its removal, by request and by itself."""
