// RUN: %systems %moe_bin %t %s
//
// MoM: tokens are routed to memories, matrices that carry on from token to token; only the chosen memories of a token change.
// A memory is an expert with state: its body takes its rows in the order of the tokens, adds the outer product of key and
// value, and reads with the query. One sequence a call; the memories come in and go out, so a later call continues it.
//
// Reading: the plain update (no decay, no delta rule), no shared memory: these are options of the paper. @with_room has the
// capacity of the published code, three rows a memory and call, of which the most recent stay.

#rows = affine_map<(m, n, k) -> (m, k)>
#weight = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(i, j) -> (i, j)>
#row = affine_map<(i, j) -> (i)>

ml_program.global private @router(#moe.source<"router", tensor<4x16xf32>>) : tensor<4x16xf32>
ml_program.global private @query(#moe.source<"query", tensor<8x16xf32>>) : tensor<8x16xf32>
ml_program.global private @key(#moe.bank_recipe<[#moe.source<"key", tensor<4x8x16xf32>>]>) : !moe.bank<tensor<4x8x16xf32>>
ml_program.global private @value(#moe.bank_recipe<[#moe.source<"value", tensor<4x8x16xf32>>]>) : !moe.bank<tensor<4x8x16xf32>>
ml_program.global private @merge(#moe.source<"merge", tensor<16x8xf32>>) : tensor<16x8xf32>

func.func @mom_memories(%x: tensor<?x16xf32> {moe.name = "x"}, %memory: tensor<4x8x8xf32> {moe.name = "memory"}) -> (tensor<?x16xf32> {moe.name = "y"}, tensor<?x8xf32> {moe.name = "read"}, tensor<4x8x8xf32> {moe.name = "updated"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x16xf32>
  %router = ml_program.global_load_const @router : tensor<4x16xf32>
  %query = ml_program.global_load_const @query : tensor<8x16xf32>
  %key = ml_program.global_load_const @key : !moe.bank<tensor<4x8x16xf32>>
  %value = ml_program.global_load_const @value : !moe.bank<tensor<4x8x16xf32>>
  %merge = ml_program.global_load_const @merge : tensor<16x8xf32>
  %logits_empty = tensor.empty(%tokens) : tensor<?x4xf32>
  %logits_zero = linalg.fill ins(%zero : f32) outs(%logits_empty : tensor<?x4xf32>) -> tensor<?x4xf32>
  %logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %router : tensor<?x16xf32>, tensor<4x16xf32>) outs(%logits_zero : tensor<?x4xf32>) -> tensor<?x4xf32>
  %routing = moe.select %logits policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.sum_to_one)
    : tensor<?x4xf32> -> !moe.routing<? x 4, slots = 2>
  %q_empty = tensor.empty(%tokens) : tensor<?x8xf32>
  %q_zero = linalg.fill ins(%zero : f32) outs(%q_empty : tensor<?x8xf32>) -> tensor<?x8xf32>
  %q = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %query : tensor<?x16xf32>, tensor<8x16xf32>) outs(%q_zero : tensor<?x8xf32>) -> tensor<?x8xf32>
  // Shown:
  %read, %updated = moe.experts rows(%x, %q : tensor<?x16xf32>, tensor<?x8xf32>)
         routed_by(%routing : !moe.routing<? x 4, slots = 2>)
         banks(%key, %value : !moe.bank<tensor<4x8x16xf32>>, !moe.bank<tensor<4x8x16xf32>>)
         state(%memory : tensor<4x8x8xf32>) combine(#moe.weighted_sum) -> tensor<?x8xf32>, tensor<4x8x8xf32> {
  ^bb0(%own: tensor<?x16xf32>, %queries: tensor<?x8xf32>, %k: tensor<8x16xf32>, %v: tensor<8x16xf32>, %before: tensor<8x8xf32>):
    %none = arith.constant 0.0 : f32
    %first = arith.constant 0 : index
    %count = tensor.dim %own, %first : tensor<?x16xf32>
    %keys_empty = tensor.empty(%count) : tensor<?x8xf32>
    %keys_zero = linalg.fill ins(%none : f32) outs(%keys_empty : tensor<?x8xf32>) -> tensor<?x8xf32>
    %keys = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%own, %k : tensor<?x16xf32>, tensor<8x16xf32>) outs(%keys_zero : tensor<?x8xf32>) -> tensor<?x8xf32>
    %values_empty = tensor.empty(%count) : tensor<?x8xf32>
    %values_zero = linalg.fill ins(%none : f32) outs(%values_empty : tensor<?x8xf32>) -> tensor<?x8xf32>
    %values = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%own, %v : tensor<?x16xf32>, tensor<8x16xf32>) outs(%values_zero : tensor<?x8xf32>) -> tensor<?x8xf32>
    %c1 = arith.constant 1 : index
    %given = tensor.empty(%count) : tensor<?x8xf32>
    %after, %out = scf.for %r = %first to %count step %c1 iter_args(%state = %before, %results = %given)
        -> (tensor<8x8xf32>, tensor<?x8xf32>) {
      %one_key = tensor.extract_slice %keys[%r, 0] [1, 8] [1, 1] : tensor<?x8xf32> to tensor<8xf32>
      %one_value = tensor.extract_slice %values[%r, 0] [1, 8] [1, 1] : tensor<?x8xf32> to tensor<8xf32>
      %one_query = tensor.extract_slice %queries[%r, 0] [1, 8] [1, 1] : tensor<?x8xf32> to tensor<8xf32>
      %next = linalg.generic {indexing_maps = [#row, affine_map<(i, j) -> (j)>, #id], iterator_types = ["parallel", "parallel"]}
        ins(%one_key, %one_value : tensor<8xf32>, tensor<8xf32>) outs(%state : tensor<8x8xf32>) {
      ^bb0(%a: f32, %b: f32, %old: f32):
        %new = math.fma %a, %b, %old : f32
        linalg.yield %new : f32
      } -> tensor<8x8xf32>
      %answer_empty = tensor.empty() : tensor<8xf32>
      %answer_zero = linalg.fill ins(%none : f32) outs(%answer_empty : tensor<8xf32>) -> tensor<8xf32>
      %answer = linalg.generic {
        indexing_maps = [affine_map<(j, i) -> (i)>, affine_map<(j, i) -> (i, j)>, affine_map<(j, i) -> (j)>],
        iterator_types = ["parallel", "reduction"]
      } ins(%one_query, %next : tensor<8xf32>, tensor<8x8xf32>) outs(%answer_zero : tensor<8xf32>) {
      ^bb0(%a: f32, %b: f32, %sum: f32):
        %more = math.fma %a, %b, %sum : f32
        linalg.yield %more : f32
      } -> tensor<8xf32>
      %kept = tensor.insert_slice %answer into %results[%r, 0] [1, 8] [1, 1] : tensor<8xf32> into tensor<?x8xf32>
      scf.yield %next, %kept : tensor<8x8xf32>, tensor<?x8xf32>
    }
    moe.yield %out, %after : tensor<?x8xf32>, tensor<8x8xf32>
  }

  // RMSNorm and the output projection.
  %squares_empty = tensor.empty(%tokens) : tensor<?xf32>
  %squares_zero = linalg.fill ins(%zero : f32) outs(%squares_empty : tensor<?xf32>) -> tensor<?xf32>
  %squares = linalg.generic {indexing_maps = [#id, #row], iterator_types = ["parallel", "reduction"]}
    ins(%read : tensor<?x8xf32>) outs(%squares_zero : tensor<?xf32>) {
  ^bb0(%a: f32, %sum: f32):
    %square = arith.mulf %a, %a : f32
    %more = arith.addf %square, %sum : f32
    linalg.yield %more : f32
  } -> tensor<?xf32>
  %normal_empty = tensor.empty(%tokens) : tensor<?x8xf32>
  %normal = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel"]}
    ins(%read, %squares : tensor<?x8xf32>, tensor<?xf32>) outs(%normal_empty : tensor<?x8xf32>) {
  ^bb0(%a: f32, %sum: f32, %unused: f32):
    %width = arith.constant 8.0 : f32
    %epsilon = arith.constant 1.0e-05 : f32
    %mean = arith.divf %sum, %width : f32
    %shifted = arith.addf %mean, %epsilon : f32
    %scale = math.rsqrt %shifted : f32
    %scaled = arith.mulf %a, %scale : f32
    linalg.yield %scaled : f32
  } -> tensor<?x8xf32>
  %y_empty = tensor.empty(%tokens) : tensor<?x16xf32>
  %y_zero = linalg.fill ins(%zero : f32) outs(%y_empty : tensor<?x16xf32>) -> tensor<?x16xf32>
  %y = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%normal, %merge : tensor<?x8xf32>, tensor<16x8xf32>) outs(%y_zero : tensor<?x16xf32>) -> tensor<?x16xf32>
  return %y, %read, %updated : tensor<?x16xf32>, tensor<?x8xf32>, tensor<4x8x8xf32>
}

func.func @with_room(%x: tensor<?x16xf32> {moe.name = "x"}, %memory: tensor<4x8x8xf32> {moe.name = "memory"}) -> (tensor<?x8xf32> {moe.name = "read"}, tensor<4x8x8xf32> {moe.name = "updated"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x16xf32>
  %router = ml_program.global_load_const @router : tensor<4x16xf32>
  %query = ml_program.global_load_const @query : tensor<8x16xf32>
  %key = ml_program.global_load_const @key : !moe.bank<tensor<4x8x16xf32>>
  %value = ml_program.global_load_const @value : !moe.bank<tensor<4x8x16xf32>>
  %logits_empty = tensor.empty(%tokens) : tensor<?x4xf32>
  %logits_zero = linalg.fill ins(%zero : f32) outs(%logits_empty : tensor<?x4xf32>) -> tensor<?x4xf32>
  %logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %router : tensor<?x16xf32>, tensor<4x16xf32>) outs(%logits_zero : tensor<?x4xf32>) -> tensor<?x4xf32>
  %routing = moe.select %logits policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.sum_to_one)
    : tensor<?x4xf32> -> !moe.routing<? x 4, slots = 2>
  %q_empty = tensor.empty(%tokens) : tensor<?x8xf32>
  %q_zero = linalg.fill ins(%zero : f32) outs(%q_empty : tensor<?x8xf32>) -> tensor<?x8xf32>
  %q = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %query : tensor<?x16xf32>, tensor<8x16xf32>) outs(%q_zero : tensor<?x8xf32>) -> tensor<?x8xf32>
  %read, %updated = moe.experts rows(%x, %q : tensor<?x16xf32>, tensor<?x8xf32>)
         routed_by(%routing : !moe.routing<? x 4, slots = 2>)
         banks(%key, %value : !moe.bank<tensor<4x8x16xf32>>, !moe.bank<tensor<4x8x16xf32>>)
         state(%memory : tensor<4x8x8xf32>) combine(#moe.weighted_sum) -> tensor<?x8xf32>, tensor<4x8x8xf32> {
  ^bb0(%own: tensor<?x16xf32>, %queries: tensor<?x8xf32>, %k: tensor<8x16xf32>, %v: tensor<8x16xf32>, %before: tensor<8x8xf32>):
    %none = arith.constant 0.0 : f32
    %first = arith.constant 0 : index
    %count = tensor.dim %own, %first : tensor<?x16xf32>
    %keys_empty = tensor.empty(%count) : tensor<?x8xf32>
    %keys_zero = linalg.fill ins(%none : f32) outs(%keys_empty : tensor<?x8xf32>) -> tensor<?x8xf32>
    %keys = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%own, %k : tensor<?x16xf32>, tensor<8x16xf32>) outs(%keys_zero : tensor<?x8xf32>) -> tensor<?x8xf32>
    %values_empty = tensor.empty(%count) : tensor<?x8xf32>
    %values_zero = linalg.fill ins(%none : f32) outs(%values_empty : tensor<?x8xf32>) -> tensor<?x8xf32>
    %values = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%own, %v : tensor<?x16xf32>, tensor<8x16xf32>) outs(%values_zero : tensor<?x8xf32>) -> tensor<?x8xf32>
    %c1 = arith.constant 1 : index
    // Of more rows than there is room for, the most recent stay; the others read nothing.
    %room = arith.constant 3 : index
    %over = arith.subi %count, %room : index
    %start = arith.maxsi %over, %first : index
    %given_empty = tensor.empty(%count) : tensor<?x8xf32>
    %given = linalg.fill ins(%none : f32) outs(%given_empty : tensor<?x8xf32>) -> tensor<?x8xf32>
    %after, %out = scf.for %r = %start to %count step %c1 iter_args(%state = %before, %results = %given)
        -> (tensor<8x8xf32>, tensor<?x8xf32>) {
      %one_key = tensor.extract_slice %keys[%r, 0] [1, 8] [1, 1] : tensor<?x8xf32> to tensor<8xf32>
      %one_value = tensor.extract_slice %values[%r, 0] [1, 8] [1, 1] : tensor<?x8xf32> to tensor<8xf32>
      %one_query = tensor.extract_slice %queries[%r, 0] [1, 8] [1, 1] : tensor<?x8xf32> to tensor<8xf32>
      %next = linalg.generic {indexing_maps = [#row, affine_map<(i, j) -> (j)>, #id], iterator_types = ["parallel", "parallel"]}
        ins(%one_key, %one_value : tensor<8xf32>, tensor<8xf32>) outs(%state : tensor<8x8xf32>) {
      ^bb0(%a: f32, %b: f32, %old: f32):
        %new = math.fma %a, %b, %old : f32
        linalg.yield %new : f32
      } -> tensor<8x8xf32>
      %answer_empty = tensor.empty() : tensor<8xf32>
      %answer_zero = linalg.fill ins(%none : f32) outs(%answer_empty : tensor<8xf32>) -> tensor<8xf32>
      %answer = linalg.generic {
        indexing_maps = [affine_map<(j, i) -> (i)>, affine_map<(j, i) -> (i, j)>, affine_map<(j, i) -> (j)>],
        iterator_types = ["parallel", "reduction"]
      } ins(%one_query, %next : tensor<8xf32>, tensor<8x8xf32>) outs(%answer_zero : tensor<8xf32>) {
      ^bb0(%a: f32, %b: f32, %sum: f32):
        %more = math.fma %a, %b, %sum : f32
        linalg.yield %more : f32
      } -> tensor<8xf32>
      %kept = tensor.insert_slice %answer into %results[%r, 0] [1, 8] [1, 1] : tensor<8xf32> into tensor<?x8xf32>
      scf.yield %next, %kept : tensor<8x8xf32>, tensor<?x8xf32>
    }
    moe.yield %out, %after : tensor<?x8xf32>, tensor<8x8xf32>
  }
  return %read, %updated : tensor<?x8xf32>, tensor<4x8x8xf32>
}
