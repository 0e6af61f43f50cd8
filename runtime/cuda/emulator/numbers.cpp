// Conversions of the storage types, as the GPU rounds.
#include "machine.h"

#define TWE_API extern "C" __attribute__((visibility("default")))

namespace tilewright {

TWE_API float twe_f32_of_f16(u16 bits) { return half_to_float(bits); }

TWE_API u16 twe_f16_of_f32(float x) {  // to nearest, ties to even
    const u32 sign = bits_of(x) >> 16 & 0x8000, magnitude = bits_of(x) & 0x7fffffff;
    if (magnitude > 0x7f800000) return (u16)(0x7fff);  // as cvt.rn gives for a NaN
    if (magnitude >= 0x477ff000) return (u16)(sign | 0x7c00);
    if (magnitude < 0x38800000) {  // subnormal: adding a power of two rounds at the right bit
        return (u16)(sign | (bits_of(of_bits(magnitude) + 0.5f) - 0x3f000000));
    }
    return (u16)(sign | ((magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13));
}

TWE_API u16 twe_bf16_of_f32(float x) {
    const u32 bits = bits_of(x);
    if (x != x) return 0x7fff;
    return (u16)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

TWE_API u32 twe_tf32_of_f32(float x) {  // to nearest, ties away from zero
    const u32 bits = bits_of(x);
    return (bits & 0x7f800000) == 0x7f800000 ? bits : (bits + 0x1000) & 0xffffe000;
}

}  // namespace tilewright
