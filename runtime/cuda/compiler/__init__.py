"""Text in the device language to machine code, and what that tells: NVRTC, nvcc, ptxas, SASS."""
