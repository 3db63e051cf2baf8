"""What is measured of attacks, and of why they transfer: one formula in one place."""
