/* The loops of the fused operators, for one instruction set. _fused.c includes this file once for each.

   Before that it defines NAME(x), which adds the name of the instruction set to x, LANES (float32 values in a vector),
   ROWS (rows of a tile of a matrix product), and the types and macros of vectors: VI, VF, V_*.

   A value depends on its own row alone: neither on the other rows nor on where the row stands in a tile. */

/* ---- matrix product: u8 [rows, k] x s8 [k, 32] -> s32 [rows, 32] ------------------------------------------------- */

#define VECTORS (PANEL / LANES)

/* The sums of `rows` rows and `count` vectors of columns; both are constants wherever this is inlined. */
static inline __attribute__((always_inline)) void NAME(sums)(
    const int rows, const int count, const int wide, const uint8_t *a, size_t stride, const int8_t *b, size_t steps,
    const int32_t *start, int32_t *tile) {
    VI sums[MOST_ROWS][VECTORS];
    UNROLL
    for (int i = 0; i < rows; i++)
        UNROLL
        for (int j = 0; j < count; j++) sums[i][j] = VI_LOAD(start + j * LANES);
    size_t step = 0;
#ifdef V_DOT_TWICE
    if (wide)
        for (; step + 2 <= steps; step += 2, a += 8, b += 8 * PANEL)
            UNROLL
            for (int j = 0; j < count; j++) {
                const VI near = VI_LOAD(b + 4 * j * LANES), far = VI_LOAD(b + 4 * PANEL + 4 * j * LANES);
                UNROLL
                for (int i = 0; i < rows; i++)
                    sums[i][j] = V_DOT_TWICE(sums[i][j], VI_BYTES(a + i * stride), near, VI_BYTES(a + i * stride + 4), far);
            }
#endif
    for (; step < steps; step++, a += 4, b += 4 * PANEL) {
        VI weights[VECTORS];
        UNROLL
        for (int j = 0; j < count; j++) weights[j] = VI_LOAD(b + 4 * j * LANES);
        UNROLL
        for (int i = 0; i < rows; i++) {
            const VI bytes = VI_BYTES(a + i * stride);
            UNROLL
            for (int j = 0; j < count; j++) sums[i][j] = V_DOT(sums[i][j], bytes, weights[j]);
        }
    }
    UNROLL
    for (int i = 0; i < rows; i++)
        UNROLL
        for (int j = 0; j < count; j++) VI_STORE(tile + i * PANEL + j * LANES, sums[i][j]);
}

/* As many rows of a tile as registers can hold, at most `left`; returns how many. */
static int NAME(tile)(
    size_t left, int wide, const uint8_t *a, size_t stride, const int8_t *b, size_t steps, const int32_t *start,
    int32_t *tile) {
#define ROWS_AT_ONCE(rows, count, wide) \
    if (left >= rows) { \
        for (int j = 0; j < VECTORS; j += count) \
            NAME(sums)(rows, count, wide, a, stride, b + 4 * j * LANES, steps, start + j * LANES, tile + j * LANES); \
        return rows; \
    }
    TILES
#undef ROWS_AT_ONCE
    return 0;
}

/* One row of a tile -> scaled, with bias: float32 [PANEL]. */
static inline __attribute__((always_inline)) void NAME(scale_row)(
    const int32_t *sums, const float *scales, const float *bias, VF *values) {
    UNROLL
    for (int j = 0; j < VECTORS; j++)
        values[j] = VF_FMA(VF_OF(VI_LOAD(sums + j * LANES)), VF_LOAD(scales + j * LANES), VF_LOAD(bias + j * LANES));
}

static inline __attribute__((always_inline)) VF NAME(gelu)(VF x, const float *c) {
    const VF bounded = VF_MAX(VF_MIN(x, VF_SET(GELU_BOUND)), VF_SET(-GELU_BOUND)), square = VF_MUL(bounded, bounded);
    VF polynomial = VF_SET(c[GELU_TERMS - 1]);
    for (int i = GELU_TERMS - 2; i >= 0; i--) polynomial = VF_FMA(polynomial, square, VF_SET(c[i]));
    return VF_MUL(x, VF_FMA(bounded, polynomial, VF_SET(0.5f)));
}

/* Steps of u8: values * factors + zero, rounded to the nearest even and saturated. NaN becomes 0. */
static inline __attribute__((always_inline)) VI NAME(steps)(VF values, VF factors, VF zero) {
    const VF exact = VF_FMA(values, factors, zero);
    return VI_ROUND(VF_MIN(VF_MAX(exact, VF_SET(0)), VF_SET(255)));
}

static void NAME(panel)(const Linear *op, const uint8_t *x, size_t rows, size_t panel, void *out) {
    int32_t tile[MOST_ROWS * PANEL] __attribute__((aligned(64)));
    const size_t first = panel * PANEL, n = op->width - first < PANEL ? op->width - first : PANEL;
    const float *scales = op->scales + first, *bias = op->bias + first;
    const int8_t *b = op->weights + panel * op->steps * 4 * PANEL;
    const VF zero = VF_SET(op->out_zero);
    for (size_t row = 0; row < rows;) {
        const int done = NAME(tile)(rows - row, op->wide, x + row * 4 * op->steps, 4 * op->steps, b, op->steps, op->start + first, tile);
        for (int i = 0; i < done; i++, row++) {
            VF values[VECTORS];
            NAME(scale_row)(tile + i * PANEL, scales, bias, values);
            if (op->factors == NULL) {
                float *target = (float *)out + row * op->width + first;
                float part[PANEL] __attribute__((aligned(64)));
                float *to = n == PANEL ? target : part;
                UNROLL
                for (int j = 0; j < VECTORS; j++) VF_STORE(to + j * LANES, values[j]);
                if (n != PANEL) memcpy(target, part, n * sizeof(float));
                continue;
            }
            uint8_t *target = (uint8_t *)out + row * op->width + first, part[PANEL];
            uint8_t *to = n == PANEL ? target : part;
            UNROLL
            for (int j = 0; j < VECTORS; j++)
                VI_STORE_BYTES(to + j * LANES, NAME(steps)(NAME(gelu)(values[j], op->gelu),
                                                           VF_LOAD(op->factors + first + j * LANES), zero));
            if (n != PANEL) memcpy(target, part, n);
        }
    }
}

/* ---- attention of one head of one window -------------------------------------------------------------------------- */

/* Queries, keys, values and shares are whole numbers of 16 bits here, two of which are multiplied and added at once. Each
   query and each share has as many bits as fit sums of 32 bits: SPAN * SPAN is less than 2^30, and so is the product of a
   query and a key that are no longer than SPAN. Columns of keys and of values are stored in groups of GROUP, so that a
   pass over a group reads memory in order. */
#define GROUP (2 * LANES)

/* Powers of 2; off by 3e-6 of the result at most. */
static inline __attribute__((always_inline)) VF NAME(power)(VF x) {
    x = VF_MAX(x, VF_SET(-126.0f));
    const VF whole = VF_WHOLE(x), r = VF_SUB(x, whole);
    VF p = VF_SET(9.570101792e-3f);
    p = VF_FMA(p, r, VF_SET(5.591786031e-2f));
    p = VF_FMA(p, r, VF_SET(2.402474483e-1f));
    p = VF_FMA(p, r, VF_SET(6.931218147e-1f));
    p = VF_FMA(p, r, VF_SET(9.999992614e-1f));
    return VF_TIMES_POWER(p, whole);
}

/* out [QUERIES, columns] = left [QUERIES, pairs] @ right, which is [columns / GROUP, pairs, GROUP]: pairs of s16 -> s32. */
static void NAME(products)(
    const int32_t *left, size_t left_stride, const int32_t *right, size_t pairs, int32_t *out, size_t columns) {
    for (size_t at = 0; at < columns; at += GROUP) {
        VI sums[QUERIES][2];
        UNROLL
        for (int i = 0; i < QUERIES; i++) sums[i][0] = sums[i][1] = VI_ZERO;
        for (size_t p = 0; p < pairs; p++, right += GROUP) {
            const VI low = VI_LOAD(right), high = VI_LOAD(right + LANES);
            UNROLL
            for (int i = 0; i < QUERIES; i++) {
                const VI factor = VI_BYTES(left + i * left_stride + p);
                sums[i][0] = V_DOT_WORDS(sums[i][0], factor, low);
                sums[i][1] = V_DOT_WORDS(sums[i][1], factor, high);
            }
        }
        UNROLL
        for (int i = 0; i < QUERIES; i++) {
            VI_STORE(out + i * columns + at, sums[i][0]);
            VI_STORE(out + i * columns + at + LANES, sums[i][1]);
        }
    }
}

/* Softmax of `count` sums, which are to be multiplied by `scale`, as powers of 2 rather than of e: `shares` are whole
   numbers whose total is the result. Shares after them, up to a whole group, become 0. */
static float NAME(softmax)(int32_t *sums, size_t count, float scale, int16_t *shares) {
    const size_t padded = (count + GROUP - 1) / GROUP * GROUP;
    for (size_t i = count; i < padded; i++) sums[i] = INT32_MIN / 2;
    VI highest = VI_LOAD(sums);
    for (size_t i = LANES; i < padded; i += LANES) highest = VI_MAX(highest, VI_LOAD(sums + i));
    const VI most = VI_SET(VI_HIGHEST(highest));
    float *powers = (float *)sums;
    VF total = VF_SET(0);
    for (size_t i = 0; i < padded; i += LANES) {
        VF part = NAME(power)(VF_MUL(VF_OF(VI_SUB(VI_LOAD(sums + i), most)), VF_SET(scale)));
        if (i + LANES > count) part = VF_FIRST(part, i < count ? (int)(count - i) : 0);
        VF_STORE(powers + i, part);
        total = VF_ADD(total, part);
    }
    const float whole = VF_TOTAL(total), factor = SHARES / whole < 32767 ? SHARES / whole : 32767;
    for (size_t i = 0; i < padded; i += LANES)
        VI_STORE_WORDS(shares + i, VI_ROUND(VF_MUL(VF_LOAD(powers + i), VF_SET(factor))));
    return whole * factor;
}

/* The sum of the squares of d values. */
static inline __attribute__((always_inline)) float NAME(squares)(const float *row, size_t d) {
    VF squares = VF_SET(0);
    for (size_t c = 0; c < d; c += LANES) {
        const VF part = VF_LOAD_FIRST(row + c, d - c);
        squares = VF_FMA(part, part, squares);
    }
    return VF_TOTAL(squares);
}

/* d values as whole steps, and zeros up to dp. */
static inline __attribute__((always_inline)) void NAME(words)(const float *row, size_t d, size_t dp, float factor, int32_t *words) {
    size_t c = 0;
    for (; c < d; c += LANES)
        VI_STORE_WORDS((int16_t *)words + c, VI_ROUND(VF_MUL(VF_LOAD_FIRST(row + c, d - c), VF_SET(factor))));
    for (; c < dp; c += LANES) VI_STORE_WORDS((int16_t *)words + c, VI_ZERO);
}

/* Keys and values of one head -> pairs of s16 in groups, and the size of their steps. `words` is room for a row. */
static void NAME(pack_head)(
    const AttentionCall *call, size_t stride, size_t at, size_t d, int32_t *keys, int32_t *values, int32_t *words,
    float *key_step, float *value_step) {
    const size_t s = call->keys, dp = (d + GROUP - 1) / GROUP * GROUP, pairs = (d + 1) / 2, rows = (s + 1) / 2;
    const float *k = call->k + at, *v = call->v + at;
    float longest = 0;
    VF largest = VF_SET(0);
    for (size_t i = 0; i < s; i++) {
        for (size_t c = 0; i + AHEAD < s && c < d; c += 16) { /* rows are far apart in memory */
            __builtin_prefetch(k + (i + AHEAD) * stride + c);
            __builtin_prefetch(v + (i + AHEAD) * stride + c);
        }
        const float squares = NAME(squares)(k + i * stride, d);
        longest = squares > longest ? squares : longest;
        for (size_t c = 0; c < d; c += LANES) {
            const VF part = VF_LOAD_FIRST(v + i * stride + c, d - c);
            largest = VF_MAX(largest, VF_MAX(part, VF_SUB(VF_SET(0), part)));
        }
    }
    float lanes[LANES] __attribute__((aligned(64))), most = 0;
    VF_STORE(lanes, largest);
    for (int i = 0; i < LANES; i++) most = lanes[i] > most ? lanes[i] : most;
    const float key_factor = steps_of(sqrtf(longest), SPAN, key_step);
    const VF value_factor = VF_SET(steps_of(most, VALUES / (SHARES + (float)(s / 2)), value_step));
    for (size_t i = 0; i < s; i++) {
        int32_t *to = keys + i / GROUP * pairs * GROUP + i % GROUP;
        NAME(words)(k + i * stride, d, dp, key_factor, words);
        for (size_t p = 0; p < pairs; p++) to[p * GROUP] = words[p];
    }
    for (size_t i = 0; i < s; i += 2) {
        const float *next = i + 1 < s ? v + (i + 1) * stride : NULL;
        for (size_t c = 0; c < dp; c += LANES) {
            const size_t left = c < d ? d - c : 0;
            const VF low = VF_LOAD_FIRST(v + i * stride + (left ? c : 0), left);
            const VF high = next == NULL ? VF_SET(0) : VF_LOAD_FIRST(next + (left ? c : 0), left);
            VI_STORE(values + c / GROUP * rows * GROUP + i / 2 * GROUP + c % GROUP,
                     VI_PAIRS(VI_ROUND(VF_MUL(low, value_factor)), VI_ROUND(VF_MUL(high, value_factor))));
        }
    }
}

static void NAME(head)(const Attention *op, const AttentionCall *call, size_t window, size_t head, void *scratch) {
    const size_t d = op->width / op->heads, s = call->keys, t = call->queries;
    const size_t sp = (s + GROUP - 1) / GROUP * GROUP, dp = (d + GROUP - 1) / GROUP * GROUP;
    const size_t pairs = (d + 1) / 2, rows = (s + 1) / 2;
    const size_t stride = call->windows * op->width, at = window * op->width + head * d;
    int32_t *keys = scratch, *values = keys + pairs * sp, *sums = values + rows * dp, *shares = sums + QUERIES * sp;
    int32_t *mixed = shares + QUERIES * sp / 2, *queries = mixed + QUERIES * dp;
    int32_t *words = queries + QUERIES * dp / 2;
    float *factors = (float *)(words + dp / 2);
    memset(keys, 0, sizeof(int32_t) * pairs * sp);
    memset(factors, 0, sizeof(float) * dp);
    memcpy(factors, op->factors + head * d, sizeof(float) * d);
    float key_step, value_step;
    NAME(pack_head)(call, stride, at, d, keys, values, words, &key_step, &value_step);
    for (size_t first = 0; first < t; first += QUERIES) {
        const size_t left = t - first < QUERIES ? t - first : QUERIES;
        float scales[QUERIES];
        for (size_t i = 0; i < QUERIES; i++) { /* rows past the end repeat the last one */
            const float *query = call->q + (first + (i < left ? i : left - 1)) * stride + at;
            for (size_t c = 0; first + i + QUERIES < t && c < d; c += 16) __builtin_prefetch(query + QUERIES * stride + c);
            NAME(words)(query, d, dp, steps_of(sqrtf(NAME(squares)(query, d)), SPAN, scales + i), queries + i * dp / 2);
            scales[i] *= key_step * op->scale * 1.44269504f;
        }
        NAME(products)(queries, dp / 2, keys, pairs, sums, sp);
        for (size_t i = 0; i < QUERIES; i++)
            scales[i] = value_step / NAME(softmax)(sums + i * sp, s, scales[i], (int16_t *)(shares + i * sp / 2));
        NAME(products)(shares, sp / 2, values, rows, mixed, dp);
        for (size_t i = 0; i < left; i++) {
            uint8_t *target = call->out + (first + i) * stride + at, part[LANES];
            for (size_t c = 0; c < d; c += LANES) {
                const VF value = VF_MUL(VF_OF(VI_LOAD(mixed + i * dp + c)), VF_SET(scales[i]));
                const VI steps = NAME(steps)(value, VF_LOAD(factors + c), VF_SET(op->out_zero));
                if (c + LANES <= d) {
                    VI_STORE_BYTES(target + c, steps);
                } else {
                    VI_STORE_BYTES(part, steps);
                    memcpy(target + c, part, d - c);
                }
            }
        }
    }
}

/* ---- sum, layer normalization, quantization ----------------------------------------------------------------------- */

/* `width` is a multiple of LANES. */
static void NAME(normalize)(const Norm *op, const float *x, const float *y, float *out, uint8_t *steps) {
    VF sums = VF_SET(0), squares = VF_SET(0);
    for (size_t c = 0; c < op->width; c += LANES) {
        VF value = VF_LOAD(x + c);
        if (y != NULL) value = VF_ADD(value, VF_LOAD(y + c));
        VF_STORE(out + c, value);
        sums = VF_ADD(sums, value);
    }
    const VF mean = VF_SET(VF_TOTAL(sums) / (float)op->width);
    for (size_t c = 0; c < op->width; c += LANES) {
        const VF apart = VF_SUB(VF_LOAD(out + c), mean);
        squares = VF_FMA(apart, apart, squares);
    }
    const VF factor = VF_SET(1 / sqrtf(VF_TOTAL(squares) / (float)op->width + op->epsilon));
    for (size_t c = 0; c < op->width; c += LANES) {
        const VF apart = VF_MUL(VF_SUB(VF_LOAD(out + c), mean), factor);
        const VF value = VF_FMA(apart, VF_LOAD(op->gamma + c), VF_LOAD(op->beta + c));
        VF_STORE(out + c, value);
        VI_STORE_BYTES(steps + c, NAME(steps)(value, VF_LOAD(op->factors + c), VF_SET(op->out_zero)));
    }
}

#undef VECTORS
#undef GROUP
