"""What comes before what: barriers between threads, loops whose copies run ahead."""
