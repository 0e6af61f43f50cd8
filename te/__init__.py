"""What to compute: tensors declared by an expression for each element."""

from ..ir.arith import const, if_then_else, maximum, minimum, select
from .axis import Axis, AxisKind
from .compute import compute, placeholder, reduce_axis, size_var, thread_axis, var
from .operation import ComputeOp, ExternOp, Operation, PlaceholderOp, ScanOp
from .reducers import all, any, comm_reducer, max, min, prod, sum
from .tensor import Tensor
