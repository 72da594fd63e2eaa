"""Which of optax's tests run over ours, and why the rest do not apply: the whole of optax's test suite, by name."""

import optax
import pytest


def _words(text: str) -> list[str]:
    return text.split()


VERSION = "0.2.8"  # of the optax whose tests these tables list; another one's are run as far as they are known here

OWN = "about what only optax has, or about its transformations without an optimizer in them"
FIELDS = "reads the fields or the classes of optax's own states; ours are those of RuleState"
COMPLEX = "complex parameters: rules are for real numbers (optax.contrib.split_real_and_imaginary makes them real)"
NO_RULE = "no rule of ours: a recipe takes optax's factory"
SKIPPED = "optax skips it itself"
BROKEN = "waits for a message that JAX no longer gives, with optax's own optimizers too"
NEGATIVE = "a negative length, which optax takes for 0, is refused here"
UNSORTED = "boundaries out of order, which optax sorts, are refused here"
ZERO_PEAK = "a peak of 0 stays 0 in optax, whatever the end value; here the cosine leads to the end value"

# Optimizers that optax's tests run through and that are no rules of ours: a recipe takes them as optax's factories.
NOT_OURS = frozenset(
    _words(
        "acprop adabelief adafactor adamax adamaxw adan ademamix adopt amsgrad cocob dadapt_adamw dog dowg fromage galore "
        "lamb lars madgrad momo momo_adam muon noisy_sgd novograd optimistic_adam optimistic_adam_v2 "
        "optimistic_gradient_descent polyak_sgd prodigy rprop schedule_free_adamw schedule_free_sgd signum "
        "simplified_ademamix sm3 sophia yogi"
    )
)

# Module -> the tests that run with our functions in the place of optax's. Some cases of these are listed further down.
OPTIMIZERS: dict[str, tuple[str, ...]] = {
    "optax._src.alias_test": (
        "AliasTest.test_optimization",
        "AliasTest.test_optimizers_accept_extra_args",
        "AliasTest.test_optimizers_can_be_wrapped_in_inject_hyperparams",
        "AliasTest.test_explicit_dtype",
        "AliasTest.test_preserve_dtype",
        "AliasTest.test_state_shape_dtype_shard_stability",
        "AliasTest.test_gradient_accumulation",
    ),
    "optax._src.float64_test": ("Float64Test.test_mixed_dtype_input_outputs",),
    "optax._src.linesearch_test": (
        "BacktrackingLinesearchTest.test_gradient_descent_with_linesearch",
        "BacktrackingLinesearchTest.test_recycling_value_and_grad",
        "BacktrackingLinesearchTest.test_armijo_sgd",
        "BacktrackingLinesearchTest.test_linesearch",
        "ZoomLinesearchTest.test_value_and_grad_from_state",
    ),
    "optax._src.transform_test": ("TransformTest.test_apply_every",),
    "optax.transforms._accumulation_test": (
        "AccumulationTest.test_multi_steps_every_k_schedule",
        "AccumulationTest.test_multi_steps_scan_dtype_stability",
        "AccumulationTest.test_multi_steps_zero_nans",
        "AccumulationTest.test_multi_steps_skip_not_finite",
        "AccumulationTest.test_multi_steps_mixed_precision",
    ),
    "optax.transforms._combining_test": (
        "ExtraArgsTest.test_extra_args",
        "PartitionTest.test_empty",
        "PartitionTest.test_labels_mismatch",
    ),
    "optax.transforms._conditionality_test": (
        "ConditionalityTest.test_apply_if_finite",
        "ConditionalityTest.test_apply_if_finite_pmap",
    ),
    "optax.transforms._freezing_test": (
        "SelectiveTransformTest.test_nested_train_all",
        "SelectiveTransformTest.test_partial_prefix_mask_behavior",
        "SelectiveTransformTest.test_selective_transform_effect",
        "SelectiveTransformTest.test_scalar_freeze_all",
    ),
    "optax.transforms._layouts_test": ("LayoutsTest.test_flatten",),
    "optax.transforms._masking_test": (
        "MaskedTest.test_masked",
        "MaskedTest.test_prefix_mask",
        "MaskedTest.test_empty",
        "MaskedTest.test_tree_mismatch_fails",
        "MaskedTest.test_nested_mask",
        "MaskedTest.test_mask_compatible_callable_pytree",
    ),
    "optax.transforms._monitoring_test": ("MonitoringTest.test_snapshot", "MonitoringTest.test_monitor"),
    "optax.tree_utils._state_utils_test": (
        "StateUtilsTest.test_tree_get_all_with_path",
        "StateUtilsTest.test_tree_get",
        "StateUtilsTest.test_tree_set",
    ),
    "optax.contrib._common_test": (
        "ContribTest.test_optimizers_accept_extra_args",
        "ContribTest.test_optimizers",
        "ContribTest.test_optimizers_can_be_wrapped_in_inject_hyperparams",
        "ContribTest.test_preserve_dtype",
        "ContribTest.test_gradient_accumulation",
        "ContribTest.test_state_shape_dtype_shard_stability",
    ),
    "optax.contrib._sam_test": ("SAMTest.test_optimization",),
    "optax.contrib._schedule_free_test": (
        "ScheduleFreeTest.test_learning_rate_zero",
        "ScheduleFreeTest.test_scalar_preservance",
        "ScheduleFreeTest.test_explicit_dtype",
    ),
    "optax.experimental._aggregating_test": (
        "AggregatorsTest.test_aggregation_and_accumulation_match_standard",
        "AggregatorsTest.test_mean_variance_ema_match_standard",
    ),
}

SCHEDULES: dict[str, tuple[str, ...]] = {
    "optax.schedules._schedule_test": (
        "ConstantTest.test_constant",
        "PolynomialTest.test_linear",
        "PolynomialTest.test_nonlinear",
        "PolynomialTest.test_with_decay_begin",
        "PiecewiseConstantTest.test_positive",
        "PiecewiseConstantTest.test_negative",
        "ExponentialTest.test_immutable_count",
        "ExponentialTest.test_constant_schedule",
        "ExponentialTest.test_nonvalid_decay_rate",
        "ExponentialTest.test_exponential",
        "ExponentialTest.test_end_value_with_staircase",
        "CosineDecayTest.test_decay_count_smaller_count",
        "CosineDecayTest.test_decay_count_greater_count",
        "CosineDecayTest.test_decay_count_greater_count_with_alpha",
        "CosineDecayTest.test_with_exponent",
        "CosineDecayTest.test_with_giant_int_steps",
        "WarmupCosineDecayTest.test_limits",
        "WarmupCosineDecayTest.test_with_exponent",
        "WarmupCosineDecayTest.test_monotonicity_and_exponent_ordering",
        "WarmupCosineDecayTest.test_raises_when_decay_equals_warmup",
        "SGDRTest.test_limits",
        "PiecewiseInterpolateTest.test_linear_piecewise",
        "PiecewiseInterpolateTest.test_empty_dict",
        "PiecewiseInterpolateTest.test_no_dict",
        "PiecewiseInterpolateTest.test_invalid_type",
        "PiecewiseInterpolateTest.test_invalid_scale",
        "PiecewiseInterpolateTest.test_zero_interval_size",
        "OneCycleTest.test_linear",
        "OneCycleTest.test_cosine",
        "OneCycleTest.test_nonpositive_transition_steps",
        "ScheduleAsLearningRateTest.test_optimization",
    ),
    "optax.schedules._join_test": ("JoinTest.test_join_schedules",),
    "optax.schedules._inject_test": (
        "InjectHyperparamsTest.test_updates",
        "InjectHyperparamsTest.test_hyperparams_state",
        "StatefulTest.test_wrap_stateless_schedule",
    ),
    "optax.contrib._reduce_on_plateau_test": (
        "ReduceLROnPlateauTest.test_learning_rate_reduced_after_cooldown_period_is_over",
        "ReduceLROnPlateauTest.test_learning_rate_is_not_reduced",
        "ReduceLROnPlateauTest.test_learning_rate_not_reduced_during_cooldown",
        "ReduceLROnPlateauTest.test_learning_rate_not_reduced_after_end_scale_is_reached",
    ),
}

# Tests of the modules above that do not apply; a suite's name stands for all of its tests.
TESTS_LEFT_OUT: dict[str, dict[str, str]] = {
    "optax._src.alias_test": {"LBFGSTest": OWN},
    "optax._src.linesearch_test": {
        "BacktrackingLinesearchTest.test_linesearch_update": OWN,
        "BacktrackingLinesearchTest.test_linesearch_raises_on_unused_extra_args": OWN,
        "BacktrackingLinesearchTest.test_dtype_stability": OWN,
        "ZoomLinesearchTest.test_linesearch_update": OWN,
        "ZoomLinesearchTest.test_linesearch": SKIPPED,
        "ZoomLinesearchTest.test_failure_descent_direction": OWN,
        "ZoomLinesearchTest.test_failure_too_small_max_stepsize": OWN,
        "ZoomLinesearchTest.test_failure_not_enough_iter": OWN,
        "ZoomLinesearchTest.test_failure_flat_fun": OWN,
        "ZoomLinesearchTest.test_failure_inf_value": OWN,
        "ZoomLinesearchTest.test_high_smaller_than_low": OWN,
        "ZoomLinesearchTest.test_zoom_linesearch_raises_on_unused_extra_args": OWN,
        "ZoomLinesearchTest.test_extract_fns_kwargs": OWN,
        "ZoomLinesearchTest.test_dtype_stability": OWN,
    },
    "optax._src.transform_test": {
        "TransformTest.test_scalers": OWN,
        "TransformTest.test_scale": OWN,
        "TransformTest.test_centralize": OWN,
        "TransformTest.test_scale_by_optimistic_gradient": OWN,
        "TransformTest.test_lion_modes_variants": OWN,
        "TransformTest.test_lion_invalid_mode_raises": OWN,
        "TransformTest.test_scale_by_polyak_l1_norm": OWN,
        "TransformTest.test_rms_match_adam": OWN,
    },
    "optax.transforms._accumulation_test": {
        "AccumulationTest.test_ema": OWN,
        "AccumulationTest.test_ema_debias": OWN,
        "AccumulationTest.test_skip_not_finite": OWN,
        "AccumulationTest.test_skip_large_updates": OWN,
        "AccumulationTest.test_multi_steps": OWN,
        "AccumulationTest.test_multi_steps_computes_mean": OWN,
    },
    "optax.transforms._combining_test": {
        "CombiningTest": OWN,
        "NamedChainTest": OWN,
        "ExtraArgsTest.test_extra_args_chaining": OWN,
        "ExtraArgsTest.test_extra_args_positional_params": OWN,
        "PartitionTest.test_partition": OWN,
        "PartitionTest.test_extra_args": OWN,
    },
    "optax.transforms._conditionality_test": {"ConditionallyTransformTest": OWN, "ConditionallyMaskTest": OWN},
    "optax.transforms._freezing_test": {
        "FreezeTest": OWN,
        "SelectiveTransformTest.test_selective_bad_structure": BROKEN,
    },
    "optax.transforms._masking_test": {
        "MaskedTest.test_tree_map_params": OWN,
        "MaskedTest.test_update_requires_params": OWN,
        "MaskedTest.test_mask_fn": OWN,
        "MaskedTest.test_masked_state_structure": FIELDS,
    },
    "optax.tree_utils._state_utils_test": {
        "StateUtilsTest.test_dict_based_optimizers": OWN,
        "StateUtilsTest.test_adam": FIELDS,
        "StateUtilsTest.test_inject_hparams": FIELDS,
        "StateUtilsTest.test_map_params_to_none": FIELDS,
        "StateUtilsTest.test_map_non_params_to_none": FIELDS,
    },
    "optax.contrib._common_test": {
        "ContribTest.test_optimizers_accept_learning_rate_schedule_if_type_annotated_as_such": SKIPPED,
    },
    "optax.contrib._schedule_free_test": {
        "ScheduleFreeTest.test_schedule_free_adamw": "compares with optax's own adamw to 1e-6, without jit, where"
        " updates of 1 cancel: ours, rounded elsewhere, is 2e-6 away, and equal to 1e-12 in 64 bits",
        "ScheduleFreeTest.test_buffer_donation": OWN,
    },
    "optax.schedules._schedule_test": {
        "PolynomialTest.test_zero_steps_schedule": NEGATIVE,
        "ExponentialTest.test_nonvalid_transition_steps": NEGATIVE,
        "WarmupCosineDecayTest.test_zero_peak_value": ZERO_PEAK,
        "PiecewiseInterpolateTest.test_cos_piecewise": UNSORTED,
    },
    "optax.schedules._inject_test": {
        "InjectHyperparamsTest.test_constant_hyperparams": OWN,
        "InjectHyperparamsTest.test_overriding_hyperparam": OWN,
        "InjectHyperparamsTest.test_static_args": OWN,
        "InjectHyperparamsTest.test_numeric_static_args": OWN,
        "InjectHyperparamsTest.test_prng_key_not_hyperparameter": OWN,
        "InjectHyperparamsTest.test_hyperparam_dtypes": OWN,
        "InjectHyperparamsTest.test_hyperparam_default_dtype": OWN,
        "InjectHyperparamsTest.test_static_args_error": OWN,
        "InjectHyperparamsTest.test_inject_hyperparams_starts_with_step_count_zero": OWN,
        "StatefulTest.test_inject_stateful_hyperparams": OWN,
    },
}

# Test modules in which nothing of ours has a place.
MODULES_LEFT_OUT: dict[str, str] = {
    "optax._src.combine_test": "the tests of optax.transforms._combining_test once more, under the old name",
    "optax._src.sharding_test": "needs eight devices, which it asks for when it is imported",
    **dict.fromkeys(
        _words(
            "optax._src.base_test optax._src.factorized_test optax._src.linear_algebra_test optax._src.lookahead_test "
            "optax._src.numerics_test optax._src.update_test optax._src.utils_test optax.optax_test "
            "optax.assignment._hungarian_algorithm_test optax.contrib._complex_valued_test optax.contrib._galore_test "
            "optax.contrib._mechanic_test optax.contrib._muon_test optax.contrib._privacy_test "
            "optax.losses._fenchel_young_test optax.microbatching._microbatching_test "
            "optax.perturbations._make_pert_test optax.projections._projections_test "
            "optax.transforms._adding_test optax.transforms._clipping_test optax.transforms._constraining_test "
            "optax.tree_utils._casting_test optax.tree_utils._random_test optax.tree_utils._tree_math_test"
        ),
        OWN,
    ),
    **dict.fromkeys(
        _words(
            "optax.losses._classification_test optax.losses._ranking_test optax.losses._regression_test "
            "optax.losses._segmentation_test optax.losses._self_supervised_test optax.losses._smoothing_test"
        ),
        "tests of losses, which are compared with optax's where ours are tested",
    ),
}


def require_version() -> None:
    """Skip a test of these tables' completeness where another optax is installed, whose tests may be others."""
    if optax.__version__ != VERSION:
        pytest.skip(f"lists the tests of optax {VERSION}; installed is {optax.__version__}")
