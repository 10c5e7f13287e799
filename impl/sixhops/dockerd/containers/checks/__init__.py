"""What a create or update request says, completed with defaults and checked in dockerd's order with its words."""
