from setuptools import setup
setup(name="tilewright", version="0.1.0", package_dir={"tilewright": "."}, packages=["tilewright","tilewright.ir","tilewright.te"])
