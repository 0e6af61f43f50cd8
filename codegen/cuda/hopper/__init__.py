"""What sm_90a adds: bulk copies, rings of tiles, warp roles, clusters."""
