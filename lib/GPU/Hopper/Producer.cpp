//===- Producer.cpp - The warpgroup that fills the ring -------------------===//
//
// Weights come by TMA, tokens by TMA too or, where rows are gathered, by cp.async of all 128 threads. TMA's writes and
// the barrier that counts them belong to the async proxy, in which wgmma reads; writes of cp.async belong to the
// generic proxy. Each thread therefore waits for its own copies, orders them before the async proxy and only then
// arrives: it does so for the stage that it filled `lag` stages ago, so that copies of `lag` stages are under way.
//
// Consumers give a stage back one step late (see Consumer.cpp). With s stages and the producer waiting for stage
// k - 1 + s to become free, stages up to k + s - 2 - lag are announced and consumers need stage k: lag <= s - 2.
//
//===----------------------------------------------------------------------===//

#include "KernelParts.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::hopper;

static int64_t getLag(const KernelContext &kernel) { return kernel.shape.stages / 2; }

/// Announces the bytes of a stage and starts TMA. Bytes outside a tensor count like all others: they arrive as zeros.
static void buildBoxes(const DeviceBuilder &d, const KernelContext &kernel, const Work &work, Value block,
                       Value stage) {
  const KernelShape &shape = kernel.shape;
  Value barrier = kernel.fullBarrier(d, stage);
  int64_t bytes = shape.getWeightBytes() + (kernel.options.gathered ? 0 : shape.getTokenBytes());
  NVVM::MBarrierArriveExpectTxOp::create(d.b, d.loc, /*res=*/Type(), barrier, d.constant(bytes),
                                         NVVM::MemScopeKind::CTA, /*relaxed=*/false, /*predicate=*/Value());
  Value base = d.bytes(kernel.shared, kernel.stageOffset(d, stage));
  auto load = [&](Value map, int64_t offset, ValueRange coordinates) {
    Value target = LLVM::AddrSpaceCastOp::create(d.b, d.loc, getPointer(d.b.getContext(), 7), d.bytes(base, offset));
    NVVM::CpAsyncBulkTensorGlobalToSharedClusterOp::create(
        d.b, d.loc, target, map, coordinates, barrier, /*im2colOffsets=*/ValueRange(), /*multicastMask=*/Value(),
        /*l2CacheHint=*/Value(), NVVM::TMALoadMode::TILE, /*isCTAOnly=*/false, /*group=*/nullptr,
        /*predicate=*/Value());
  };
  for (int64_t number = 0; number < shape.getBoxes(); ++number) {
    WeightBox box = buildWeightBox(d, shape, block, work.column, number);
    load(kernel.bankMaps[box.bank], box.offset, {box.depth, box.column, work.expert});
  }
  if (!kernel.options.gathered)
    load(kernel.tokenMap, shape.getWeightBytes(), {d.mul(block, kBlockDepth), work.first});
}

//===----------------------------------------------------------------------===//
// Tokens by TMA: one thread
//===----------------------------------------------------------------------===//

static void buildPlainProducer(const DeviceBuilder &d, const KernelContext &kernel) {
  Value depth = d.constant(kernel.shape.getDepthBlocks());
  Value zero = d.constant(0), one = d.constant(1);
  buildWorkLoop(d, kernel, {zero, zero}, [&](const DeviceBuilder &item, const Work &work, ValueRange state) {
    return item.loop(zero, depth, one, state, [&](const DeviceBuilder &step, Value block, ValueRange ring) {
      buildWait(step, kernel.emptyBarrier(step, ring[0]), step.bitXor(ring[1], one));
      buildBoxes(step, kernel, work, block, ring[0]);
      RingState next = buildAdvance(step, kernel.shape, {ring[0], ring[1]});
      return SmallVector<Value>{next.stage, next.parity};
    });
  });
}

//===----------------------------------------------------------------------===//
// Tokens by cp.async: all threads
//===----------------------------------------------------------------------===//

namespace {
/// One 16-byte copy of a thread per stage: its row of the tile, and where its part of the token's row begins. That is
/// counted in pieces of 16 bytes, which fit a register of 32 bits for 64 GiB of tokens: sixteen addresses of 64 bits
/// would not fit the producer's registers.
struct Copy {
  Value row, source;
};
} // namespace

static int64_t getCopies(const KernelShape &shape) { return llvm::divideCeil(shape.tokenTile * 8, kWarpgroup); }

/// Looks up the tokens of the rows that this thread brings. Rows beyond the tile's take no bytes from its row 0.
static SmallVector<Copy> buildCopies(const DeviceBuilder &d, const KernelContext &kernel, const Work &work) {
  SmallVector<Copy> copies;
  for (int64_t number = 0; number < getCopies(kernel.shape); ++number) {
    GatherPlace place = buildGatherPlace(d, kernel.thread, number);
    Value row = d.add(work.first, d.select(d.less(place.row, work.rows), place.row, d.constant(0)));
    Type type = kernel.options.indexType;
    Value token = d.load(type, d.address(kernel.indices, type, row), type.getIntOrFloatBitWidth() / 8);
    copies.push_back({place.row, buildGatherSource(d, kernel.options, d.narrow(token), place.chunk)});
  }
  return copies;
}

/// Starts the copies of one stage.
static void buildGather(const DeviceBuilder &d, const KernelContext &kernel, const Work &work,
                        ArrayRef<Copy> copies, Value block, Value stage) {
  const KernelShape &shape = kernel.shape;
  Value chunk = buildGatherPlace(d, kernel.thread, 0).chunk;
  Value bytes = buildChunkBytes(d, shape, block, chunk);
  // What starts beyond the row must not be an address beyond the tokens: the beginning of the row stands for it.
  Value inside = d.less(d.constant(0), bytes);
  Value depth = d.select(inside, d.mul(block, kBlockDepth / 8), d.sub(d.constant(0), chunk));
  Value base = d.bytes(kernel.shared, d.add(kernel.stageOffset(d, stage), shape.getWeightBytes()));
  auto pieces = LLVM::LLVMArrayType::get(d.b.getI8Type(), 16);
  for (auto [number, copy] : llvm::enumerate(copies)) {
    auto start = [&, &copy = copy](const DeviceBuilder &nested) {
      Value target = nested.bytes(base, buildTokenOffset(nested, copy.row, chunk));
      Value source = nested.address(kernel.tokens, pieces, nested.widen(nested.add(copy.source, depth)));
      Value taken = nested.select(nested.less(copy.row, work.rows), bytes, nested.constant(0));
      NVVM::CpAsyncOp::create(nested.b, nested.loc, target, source, 16, NVVM::LoadCacheModifierKind::CG, taken);
    };
    int64_t last = int64_t(number + 1) * kWarpgroup;
    if (last <= shape.tokenTile * 8)
      start(d);
    else
      d.when(d.less(copy.row, d.constant(shape.tokenTile)), start);
  }
  NVVM::CpAsyncCommitGroupOp::create(d.b, d.loc);
}

/// Announces the copies into `stage`, of which all but the last `pending` groups are waited for.
static void buildAnnounce(const DeviceBuilder &d, const KernelContext &kernel, Value stage, int64_t pending) {
  NVVM::CpAsyncWaitGroupOp::create(d.b, d.loc, pending);
  NVVM::FenceProxyOp::create(d.b, d.loc, NVVM::ProxyKind::async_shared,
                             NVVM::SharedSpaceAttr::get(d.b.getContext(), NVVM::SharedSpace::shared_cta));
  buildArrive(d, kernel.fullBarrier(d, stage));
}

static Value buildNextStage(const DeviceBuilder &d, const KernelContext &kernel, Value stage) {
  return buildAdvance(d, kernel.shape, {stage, d.constant(0)}).stage;
}

/// One stage. `ring`: stage, parity, the stages filled and not announced, and the first of these.
static SmallVector<Value> buildGatherStep(const DeviceBuilder &d, const KernelContext &kernel, const Work &work,
                                          ArrayRef<Copy> copies, Value block, ValueRange ring) {
  buildWait(d, kernel.emptyBarrier(d, ring[0]), d.bitXor(ring[1], d.constant(1)));
  d.when(d.equal(kernel.thread, 0),
         [&](const DeviceBuilder &nested) { buildBoxes(nested, kernel, work, block, ring[0]); });
  buildGather(d, kernel, work, copies, block, ring[0]);
  int64_t lag = getLag(kernel);
  auto announce = scf::IfOp::create(
      d.b, d.loc, d.equal(ring[2], lag),
      [&](OpBuilder &b, Location loc) {
        DeviceBuilder nested{b, loc};
        buildAnnounce(nested, kernel, ring[3], lag);
        scf::YieldOp::create(b, loc, ValueRange{ring[2], buildNextStage(nested, kernel, ring[3])});
      },
      [&](OpBuilder &b, Location loc) {
        DeviceBuilder nested{b, loc};
        scf::YieldOp::create(b, loc, ValueRange{nested.add(ring[2], 1), ring[3]});
      });
  RingState next = buildAdvance(d, kernel.shape, {ring[0], ring[1]});
  return {next.stage, next.parity, announce.getResult(0), announce.getResult(1)};
}

/// The number of rounds of a loop. LLVM unrolls one that it knows to be short, and then keeps the addresses of all
/// rounds, for which the producer has no registers. What an instruction yields it does not know.
static Value buildRounds(const DeviceBuilder &d, int64_t rounds) {
  std::string text = "mov.b32 $0, " + std::to_string(rounds) + ";";
  return LLVM::InlineAsmOp::create(d.b, d.loc, d.b.getI32Type(), ValueRange(), text, "=r", /*has_side_effects=*/false,
                                   /*is_align_stack=*/false, LLVM::tailcallkind::TailCallKind::None,
                                   LLVM::AsmDialectAttr(), ArrayAttr())
      .getResult(0);
}

static void buildGatheringProducer(const DeviceBuilder &d, const KernelContext &kernel) {
  Value depth = buildRounds(d, kernel.shape.getDepthBlocks());
  Value zero = d.constant(0), one = d.constant(1);
  SmallVector<Value> state =
      buildWorkLoop(d, kernel, {zero, zero, zero, zero}, [&](const DeviceBuilder &item, const Work &work,
                                                            ValueRange ring) {
        SmallVector<Copy> copies = buildCopies(item, kernel, work);
        return item.loop(zero, depth, one, ring, [&](const DeviceBuilder &step, Value block, ValueRange ring) {
          return buildGatherStep(step, kernel, work, copies, block, ring);
        });
      });
  d.loop(zero, state[2], one, state[3], [&](const DeviceBuilder &last, Value, ValueRange stage) {
    buildAnnounce(last, kernel, stage[0], 0);
    return SmallVector<Value>{buildNextStage(last, kernel, stage[0])};
  });
}

void hopper::buildProducer(const DeviceBuilder &d, const KernelContext &kernel) {
  if (kernel.options.gathered)
    return buildGatheringProducer(d, kernel);
  d.when(d.equal(kernel.thread, 0), [&](const DeviceBuilder &nested) { buildPlainProducer(nested, kernel); });
}
