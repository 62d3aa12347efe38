"""Where the files of the tests are that the scripts here share: with the source tree, or beside prepared data."""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
TEST = os.path.join(ROOT, "test")
SYSTEMS, MODELS = os.path.join(TEST, "Systems"), os.path.join(TEST, "Models")
sys.path += [os.path.join(TEST, *folder) for folder in (["Integration"], ["Reference"], ["GPU", "Hopper"])]
sys.path.append(os.path.join(ROOT, "benchmarks"))
