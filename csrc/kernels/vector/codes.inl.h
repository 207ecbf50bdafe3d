// Bounds of codes. Included after Vector, where epilogue.h is known.

// Codes saturate: what is left of a clamp when the output holds codes.
GLZ_INLINE float within_codes(float bound, ElementType type) {
  const float lowest = static_cast<float>(lowest_code(type));
  const float highest = static_cast<float>(highest_code(type));
  const float above = bound > lowest ? bound : lowest;
  return above < highest ? above : highest;
}
GLZ_INLINE void clamp_to_codes(Epilogue* e) {
  if (!holds_codes(e->output_type)) return;
  e->lo = within_codes(e->lo, e->output_type);
  e->hi = within_codes(e->hi, e->output_type);
}
