"""What the attacker may do, what counts as harm, and what one combination does, scenario by scenario."""
