#pragma once

#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "core/arena.h"
#include "core/tensor.h"

namespace strait::core {

/// Mesh axes: data, context, tensor, expert; edp are the data ranks that hold the same experts:
/// dp = edp x ep.
enum class Axis : std::uint8_t { dp, cp, tp, ep, edp };

struct Init {
  enum class Kind : std::uint8_t { constant, normal } kind = Kind::normal;
  double value = 0.02;  // the constant, or the standard deviation
  static Init constant(double value) { return {Kind::constant, value}; }
  static Init normal(double stddev) { return {Kind::normal, stddev}; }
};

/// Named parts of a parameter along one dim: q, k, v of a fused projection, gate and up of an MLP.
/// Initialisation, checkpoints, name maps and matrix optimizers see parts; GEMMs see the whole.
struct Section {
  std::string name;       // full name, "layers.0.attn.q.weight"
  std::int64_t size = 0;  // global rows of the part
};

/// How a parameter lies over ranks: `dim` is divided over `axis`.
struct Shard {
  int dim = -1;  // -1: replicated
  Axis axis = Axis::tp;
  int parts = 1;  // ranks of the axis
  int index = 0;  // this rank on it
  /// Consecutive stretches of `dim` that are divided one by one, such as query and key heads;
  /// empty: the sections where `dim` is theirs, else all of it.
  std::vector<std::int64_t> cuts = {};
  bool even = true;  // false: sizes may differ by one (a vocabulary)
};

enum class OptimGroup : std::uint8_t { vector, matrix };

/// What a layer says about one of its parameters.
struct ParamSpec {
  std::string name;                    // "layers.0.attn.qkv.weight"
  std::vector<std::int64_t> shape;     // global, at most 3 dims
  std::vector<Section> sections = {};  // empty: one part of the parameter's own name
  int section_dim = 0;
  Shard shard = {};
  std::vector<Axis> grad_axes = {};  // gradients are summed over these; filled in by add() from
                                     // `shard`, see grad_axes_of
  Init init = {};
  bool decay = false;       // weight decay applies
  bool whole_grad = false;  // every gradient of a pass covers all of it in one product: the first
                            // of a step can be assigned
  bool trainable = true;    // false: state that is kept and saved, without gradient
  bool exported = true;     // false: of no use outside of this program
  bool wide = false;        // kept and multiplied in the statistics dtype
  OptimGroup group = OptimGroup::vector;
};

/// One parameter on this rank. Tensors are views into the table's arenas, local shapes. Data ranks
/// share out master weights and optimizer states (ZeRO stage 1), whole parameters at a time so that
/// matrix optimizers see whole matrices.
struct Param {
  ParamSpec spec;
  std::vector<std::int64_t> local_shape;
  Tensor weight;  // compute dtype, or the statistics dtype of a wide one: what layers multiply by
  Tensor master;  // what the optimizer moves: f32 beside bf16 weights, else the weight itself.
                  // Where another rank keeps it, a place for values to be read into, which
                  // refresh_weights() rounds into the weight and forgets: the gradient's memory
  Tensor grad;    // undefined when not trainable
  Tensor adam_m;  // flat [n], undefined when not trainable or not owned
  Tensor adam_v;  // as adam_m; also undefined for a matrix where matrices keep one state
  int stage = 0;  // see ParamTable::begin_stage
  int owner = 0;  // of a trainable one: the data rank that keeps its states, if one alone does
  std::int64_t begin = 0;         // of a trainable one: its first element in the flat tensors
  std::int64_t extent = 0;        // elements there, with the gap behind it
  std::int64_t state_begin = -1;  // the same among this rank's states; -1: not owned
  std::int64_t v_begin = -1;      // the same in adam_v; -1: has none
  bool grad_spent = false;        // the gradient is an earlier step's, see adds_gradient

  /// Whether this rank keeps its states and moves it.
  bool owned() const { return state_begin >= 0; }

  /// Whether the next product adds to the gradient: false once after ParamTable::begin_gradients,
  /// for parameters of whole gradients, which are not cleared.
  bool adds_gradient() { return !std::exchange(grad_spent, false); }
};

/// Indices [local, local + size) of a part's view are [global, global + size) of the whole part.
struct Run {
  std::int64_t global = 0, local = 0, size = 0;
  bool operator==(const Run&) const = default;
};

/// A named part of a parameter: the unit of initialisation, checkpoints and export. What a rank
/// holds of it are `runs` along one dim, of full extent in the others; none on a rank that holds
/// nothing of the part.
struct Part {
  std::string name;
  const Param* param = nullptr;
  std::vector<std::int64_t> global_shape;
  int section_dim = 0;
  std::int64_t local_begin = 0;  // along section_dim of the local tensor
  std::int64_t local_size = 0;
  int cut_dim = 0;  // the dim of the runs
  std::vector<Run> runs;
  /// The part's view of one of the parameter's tensors (weight, grad, or a flat state).
  Tensor view(const Tensor& of_param) const;
};

/// The axes that gradients of a parameter are summed over: all that it is not divided over, because
/// there every rank sees other tokens or other heads.
std::vector<Axis> grad_axes_of(const Shard& shard);

/// Number formats of a table. Masters are in the statistics dtype of `weight`.
struct ParamDtypes {
  DType weight = DType::f32;
  DType grad = DType::f32;    // f32 or bf16 beside bf16 weights, else that of the weights
  DType state = DType::f32;   // of the optimizer: statistics dtype of the weights, or bf16
  bool matrix_adam_v = true;  // false: matrices keep one state, adam_m
  bool training = true;       // false: no gradients and no states, weights to read alone
};

/// Data ranks that share out optimizer states: those of all parameters but experts that are divided
/// over expert ranks, and of those.
struct StateShares {
  int dp = 1, dp_rank = 0;
  int edp = 1, edp_rank = 0;
};

/// A run of trainable parameters that one optimizer launch of this rank can move.
struct ParamRange {
  OptimGroup group = OptimGroup::vector;
  bool decay = false;
  std::int64_t begin = 0;        // element in the flat tensors
  std::int64_t size = 0;         // gaps included
  std::int64_t state_begin = 0;  // element among this rank's states
  std::int64_t v_begin = -1;     // element in adam_v; -1: has none
};

/// Flat elements whose owners (Param::owner) are ranks of one axis. With one rank every rank owns
/// all of them.
struct Segment {
  Axis axis = Axis::dp;
  int ranks = 1, rank = 0;
  std::int64_t begin = 0, size = 0;

  bool holds(const Param& param) const {
    return param.begin >= begin && param.begin < begin + size;
  }
  /// What gradients are summed over once those of this axis are.
  std::vector<Axis> axes_beside(const ParamSpec& spec) const {
    std::vector<Axis> axes = spec.grad_axes;
    if (ranks > 1) std::erase(axes, axis);
    return axes;
  }
};

/// Neighbours in memory that this rank owns and whose gradients are to be summed over the same axes
/// once their segment's are.
struct GradientRun {
  std::vector<Axis> axes;
  std::int64_t begin = 0;  // element in the flat tensors
  std::int64_t size = 0;   // gaps included, which hold zeros
};

/// Trainable parameters side by side in memory, or a run of them.
struct FlatParams {
  Tensor weight, grad;    // [n], of all
  Tensor master, adam_m;  // of those whose states are here; master is weight where that is wide
  Tensor adam_v;          // of those of them that have it, or undefined
};

/// All parameters of a model in registration order. Layers register in their constructors and keep
/// the reference; allocate() then gives the tensors their memory: the trainable ones lie one after
/// another, owner by owner and sorted by optimizer group and decay. Gaps for alignment hold zeros.
class ParamTable {
 public:
  explicit ParamTable(const ParamDtypes& dtypes, const StateShares& shares = {});
  /// Gradients and optimizer state in the statistics dtype.
  explicit ParamTable(DType dtype)
      : ParamTable({dtype, kernels::stat_dtype(dtype), kernels::stat_dtype(dtype)}) {}

  /// The reference stays valid as long as the table. Throws InputError on a duplicate name or a
  /// dim that the shard does not divide.
  Param& add(ParamSpec spec);
  /// Parameters registered from here on form the next stage. Forward reads the weights of stages in
  /// their order; backward leaves them in reverse, and a stage's gradients are then complete.
  void begin_stage() { ++stage_; }

  /// Gives memory to weights, gradients and optimizer state (plan: fake addresses).
  void allocate(Device device);

  /// Fills masters and weights from `seed`, each element by its part's name and global index alone.
  /// Writes host memory and copies. (param_init.cc)
  void initialise(std::uint64_t seed, const Stream& stream);

  /// Rounds the masters into the weights, after something wrote all masters.
  void refresh_weights(const Stream& stream);

  DType dtype() const { return dtypes_.weight; }
  std::deque<Param>& params() { return params_; }
  const std::deque<Param>& params() const { return params_; }
  /// The same names in the same order on every rank.
  std::vector<Part> parts() const;

  /// Sum of local elements of trainable parameters.
  std::int64_t trainable_elements() const;
  /// Begins a step's gradients, on the host: launch Fill on cleared_gradients().
  void begin_gradients();
  /// Pieces of flat().grad that the first gradients of a step do not assign.
  const std::vector<Tensor>& cleared_gradients() const { return cleared_; }

  const FlatParams& flat() const { return flat_; }
  FlatParams of(const ParamRange& range) const;
  /// Ranges and runs in memory order; they cover what this rank owns.
  const std::vector<ParamRange>& ranges() const { return ranges_; }
  /// They cover flat().
  const std::vector<Segment>& segments() const { return segments_; }
  const std::vector<GradientRun>& gradient_runs() const { return gradient_runs_; }
  /// Trainable parameters in memory order.
  const std::vector<Param*>& in_memory_order() const { return in_memory_order_; }

  const Arena& weights() const { return weights_; }
  const Arena& masters() const { return masters_; }
  const Arena& gradients() const { return gradients_; }
  const Arena& optimizer() const { return optimizer_; }

 private:
  /// Elements: of all, with states here, with a second state here.
  struct LaidOut {
    std::int64_t all = 0, own = 0, with_v = 0;
  };
  LaidOut lay_out();
  void lay_out_segment(const std::vector<Param*>& params, Segment segment, LaidOut& sizes);
  void place_states(Param& param, const Segment& segment, LaidOut& sizes);
  void bind();
  void bind_states(const LaidOut& sizes);
  void bind_trainable(Param& param);
  void find_cleared();

  bool has_masters() const { return kernels::stat_dtype(dtypes_.weight) != dtypes_.weight; }

  ParamDtypes dtypes_;
  StateShares shares_;
  std::deque<Param> params_;
  int stage_ = 0;
  std::vector<Param*> in_memory_order_;
  std::vector<ParamRange> ranges_;
  std::vector<GradientRun> gradient_runs_;
  std::vector<Segment> segments_;
  FlatParams flat_;
  std::vector<Tensor> cleared_;
  Arena weights_{"weights"};
  Arena masters_{"master weights"};
  Arena gradients_{"gradients"};
  Arena optimizer_{"optimizer"};
};

}  // namespace strait::core
