// Maths functions for float and double: CUDA's accurate versions, whose errors its manual lists.

TW_DEVICE float tw_exp(float x) { return expf(x); }
TW_DEVICE double tw_exp(double x) { return exp(x); }
TW_DEVICE float tw_exp2(float x) { return exp2f(x); }
TW_DEVICE double tw_exp2(double x) { return exp2(x); }
TW_DEVICE float tw_exp10(float x) { return exp10f(x); }
TW_DEVICE double tw_exp10(double x) { return exp10(x); }
TW_DEVICE float tw_log(float x) { return logf(x); }
TW_DEVICE double tw_log(double x) { return log(x); }
TW_DEVICE float tw_log2(float x) { return log2f(x); }
TW_DEVICE double tw_log2(double x) { return log2(x); }
TW_DEVICE float tw_log10(float x) { return log10f(x); }
TW_DEVICE double tw_log10(double x) { return log10(x); }
TW_DEVICE float tw_log1p(float x) { return log1pf(x); }
TW_DEVICE double tw_log1p(double x) { return log1p(x); }
TW_DEVICE float tw_sqrt(float x) { return sqrtf(x); }
TW_DEVICE double tw_sqrt(double x) { return sqrt(x); }
TW_DEVICE float tw_rsqrt(float x) { return rsqrtf(x); }
TW_DEVICE double tw_rsqrt(double x) { return rsqrt(x); }
TW_DEVICE float tw_tanh(float x) { return tanhf(x); }
TW_DEVICE double tw_tanh(double x) { return tanh(x); }
TW_DEVICE float tw_erf(float x) { return erff(x); }
TW_DEVICE double tw_erf(double x) { return erf(x); }
TW_DEVICE float tw_sin(float x) { return sinf(x); }
TW_DEVICE double tw_sin(double x) { return sin(x); }
TW_DEVICE float tw_cos(float x) { return cosf(x); }
TW_DEVICE double tw_cos(double x) { return cos(x); }
TW_DEVICE float tw_tan(float x) { return tanf(x); }
TW_DEVICE double tw_tan(double x) { return tan(x); }
TW_DEVICE float tw_asin(float x) { return asinf(x); }
TW_DEVICE double tw_asin(double x) { return asin(x); }
TW_DEVICE float tw_acos(float x) { return acosf(x); }
TW_DEVICE double tw_acos(double x) { return acos(x); }
TW_DEVICE float tw_atan(float x) { return atanf(x); }
TW_DEVICE double tw_atan(double x) { return atan(x); }
TW_DEVICE float tw_sinh(float x) { return sinhf(x); }
TW_DEVICE double tw_sinh(double x) { return sinh(x); }
TW_DEVICE float tw_cosh(float x) { return coshf(x); }
TW_DEVICE double tw_cosh(double x) { return cosh(x); }
TW_DEVICE float tw_asinh(float x) { return asinhf(x); }
TW_DEVICE double tw_asinh(double x) { return asinh(x); }
TW_DEVICE float tw_acosh(float x) { return acoshf(x); }
TW_DEVICE double tw_acosh(double x) { return acosh(x); }
TW_DEVICE float tw_atanh(float x) { return atanhf(x); }
TW_DEVICE double tw_atanh(double x) { return atanh(x); }
TW_DEVICE float tw_floor(float x) { return floorf(x); }
TW_DEVICE double tw_floor(double x) { return floor(x); }
TW_DEVICE float tw_ceil(float x) { return ceilf(x); }
TW_DEVICE double tw_ceil(double x) { return ceil(x); }
TW_DEVICE float tw_trunc(float x) { return truncf(x); }
TW_DEVICE double tw_trunc(double x) { return trunc(x); }
TW_DEVICE float tw_sigmoid(float x) {
    float inverse;  // within 1 ULP, where a division would branch for denormals that cannot occur
    asm("rcp.approx.f32 %0, %1;" : "=f"(inverse) : "f"(1.0f + expf(-x)));
    return inverse;
}
TW_DEVICE double tw_sigmoid(double x) { return 1.0 / (1.0 + exp(-x)); }
// Ties go away from zero in round, to the even neighbour in nearbyint.
TW_DEVICE float tw_round(float x) { return roundf(x); }
TW_DEVICE double tw_round(double x) { return round(x); }
TW_DEVICE float tw_nearbyint(float x) { return rintf(x); }
TW_DEVICE double tw_nearbyint(double x) { return rint(x); }
TW_DEVICE float tw_abs(float x) { return fabsf(x); }
TW_DEVICE double tw_abs(double x) { return fabs(x); }
TW_DEVICE int tw_abs(int x) { return static_cast<int>(x < 0 ? 0u - x : x); }
TW_DEVICE long long tw_abs(long long x) { return static_cast<long long>(x < 0 ? 0ull - x : x); }
TW_DEVICE bool tw_isnan(float x) { return x != x; }
TW_DEVICE bool tw_isnan(double x) { return x != x; }
TW_DEVICE bool tw_isinf(float x) { return fabsf(x) == __int_as_float(0x7f800000); }
TW_DEVICE bool tw_isinf(double x) { return fabs(x) == __longlong_as_double(0x7ff0000000000000); }
TW_DEVICE bool tw_isfinite(float x) { return fabsf(x) < __int_as_float(0x7f800000); }
TW_DEVICE bool tw_isfinite(double x) { return fabs(x) < __longlong_as_double(0x7ff0000000000000); }
TW_DEVICE float tw_pow(float a, float b) { return powf(a, b); }
TW_DEVICE double tw_pow(double a, double b) { return pow(a, b); }
TW_DEVICE float tw_atan2(float a, float b) { return atan2f(a, b); }
TW_DEVICE double tw_atan2(double a, double b) { return atan2(a, b); }
TW_DEVICE float tw_fmod(float a, float b) { return fmodf(a, b); }
TW_DEVICE double tw_fmod(double a, double b) { return fmod(a, b); }
TW_DEVICE float tw_hypot(float a, float b) { return hypotf(a, b); }
TW_DEVICE double tw_hypot(double a, double b) { return hypot(a, b); }
TW_DEVICE float tw_copysign(float a, float b) { return copysignf(a, b); }
TW_DEVICE double tw_copysign(double a, double b) { return copysign(a, b); }
TW_DEVICE float tw_nextafter(float a, float b) { return nextafterf(a, b); }
TW_DEVICE double tw_nextafter(double a, double b) { return nextafter(a, b); }
TW_DEVICE float tw_ldexp(float x, int power) { return ldexpf(x, power); }
TW_DEVICE double tw_ldexp(double x, int power) { return ldexp(x, power); }
TW_DEVICE float tw_fma(float a, float b, float c) { return fmaf(a, b, c); }
TW_DEVICE double tw_fma(double a, double b, double c) { return fma(a, b, c); }
