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

/* Columns of keys and of values are stored in groups of GROUP, so that a pass over a group reads memory in order. */
#define GROUP (2 * LANES)

static inline __attribute__((always_inline)) VF NAME(exponential)(VF x) {
    /* 2^n * e^r with r between -ln 2 / 2 and ln 2 / 2; x is 0 at most. */
    x = VF_MAX(x, VF_SET(-87.0f));
    const VI n = VI_ROUND(VF_MUL(x, VF_SET(1.44269504f)));
    const VF whole = VF_OF(n);
    const VF r = VF_FMA(whole, VF_SET(-1.42860677e-6f), VF_FMA(whole, VF_SET(-0.693145752f), x));
    VF p = VF_SET(1.3888889e-3f);
    p = VF_FMA(p, r, VF_SET(8.3333333e-3f));
    p = VF_FMA(p, r, VF_SET(4.1666667e-2f));
    p = VF_FMA(p, r, VF_SET(0.16666667f));
    p = VF_FMA(p, r, VF_SET(0.5f));
    p = VF_FMA(p, r, VF_SET(1.0f));
    p = VF_FMA(p, r, VF_SET(1.0f));
    return VF_MUL(p, VF_POWER(n));
}

/* out [QUERIES, columns] = left [QUERIES, inner] @ right, which is [columns / GROUP, inner, GROUP]. */
static void NAME(products)(
    const float *left, size_t left_stride, const float *right, size_t inner, float *out, size_t columns) {
    for (size_t at = 0; at < columns; at += GROUP) {
        VF sums[QUERIES][2];
        UNROLL
        for (int i = 0; i < QUERIES; i++) sums[i][0] = sums[i][1] = VF_SET(0);
        for (size_t p = 0; p < inner; p++, right += GROUP) {
            const VF low = VF_LOAD(right), high = VF_LOAD(right + LANES);
            UNROLL
            for (int i = 0; i < QUERIES; i++) {
                const VF factor = VF_SET(left[i * left_stride + p]);
                sums[i][0] = VF_FMA(factor, low, sums[i][0]);
                sums[i][1] = VF_FMA(factor, high, sums[i][1]);
            }
        }
        UNROLL
        for (int i = 0; i < QUERIES; i++) {
            VF_STORE(out + i * columns + at, sums[i][0]);
            VF_STORE(out + i * columns + at + LANES, sums[i][1]);
        }
    }
}

/* Softmax of `count` values, in place, not yet divided by their sum, which is returned. Values after them, up to a whole
   group, become 0. */
static float NAME(softmax)(float *values, size_t count) {
    const size_t padded = (count + GROUP - 1) / GROUP * GROUP;
    for (size_t i = count; i < padded; i++) values[i] = -INFINITY;
    VF highest = VF_LOAD(values), sum = VF_SET(0);
    for (size_t i = LANES; i < padded; i += LANES) highest = VF_MAX(highest, VF_LOAD(values + i));
    float lanes[LANES] __attribute__((aligned(64)));
    VF_STORE(lanes, highest);
    float most = lanes[0], total = 0;
    for (int i = 1; i < LANES; i++) most = lanes[i] > most ? lanes[i] : most;
    for (size_t i = 0; i < padded; i += LANES) {
        const VF shares = NAME(exponential)(VF_SUB(VF_LOAD(values + i), VF_SET(most)));
        VF_STORE(values + i, shares);
        sum = VF_ADD(sum, shares);
    }
    for (size_t i = count; i < padded; i++) { values[i] = 0; }
    VF_STORE(lanes, sum);
    for (int i = 0; i < LANES; i++) total += lanes[i];
    return total;
}

static void NAME(head)(const Attention *op, const AttentionCall *call, size_t window, size_t head, float *scratch) {
    const size_t d = op->width / op->heads, s = call->keys, t = call->queries;
    const size_t sp = (s + GROUP - 1) / GROUP * GROUP, dp = (d + GROUP - 1) / GROUP * GROUP;
    const size_t stride = call->windows * op->width, at = window * op->width + head * d;
    float *keys = scratch, *values = keys + d * sp, *shares = values + s * dp, *mixed = shares + QUERIES * sp;
    float *queries = mixed + QUERIES * dp, *factors = queries + QUERIES * d;
    memset(keys, 0, sizeof(float) * d * sp);
    memset(values, 0, sizeof(float) * s * dp);
    memset(factors, 0, sizeof(float) * dp);
    memcpy(factors, op->factors + head * d, sizeof(float) * d);
    for (size_t i = 0; i < s; i++) {
        const float *key = call->k + i * stride + at, *value = call->v + i * stride + at;
        float *to = keys + i / GROUP * d * GROUP + i % GROUP;
        for (size_t c = 0; c < d; c++) to[c * GROUP] = key[c];
        for (size_t c = 0; c < d; c += GROUP)
            memcpy(values + c * s + i * GROUP, value + c, sizeof(float) * (d - c < GROUP ? d - c : GROUP));
    }
    for (size_t first = 0; first < t; first += QUERIES) {
        const size_t rows = t - first < QUERIES ? t - first : QUERIES;
        for (size_t i = 0; i < QUERIES; i++) /* rows past the end repeat the last one */
            for (size_t c = 0; c < d; c++)
                queries[i * d + c] = call->q[(first + (i < rows ? i : rows - 1)) * stride + at + c] * op->scale;
        NAME(products)(queries, d, keys, d, shares, sp);
        float sums[QUERIES];
        for (size_t i = 0; i < QUERIES; i++) sums[i] = NAME(softmax)(shares + i * sp, s);
        NAME(products)(shares, sp, values, s, mixed, dp);
        for (size_t i = 0; i < rows; i++) {
            uint8_t *target = call->out + (first + i) * stride + at, part[LANES];
            const VF whole = VF_SET(1 / sums[i]);
            for (size_t c = 0; c < d; c += LANES) {
                const VI steps = NAME(steps)(VF_MUL(VF_LOAD(mixed + i * dp + c), whole), VF_LOAD(factors + c),
                                             VF_SET(op->out_zero));
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

static float NAME(total)(VF sums) {
    float lanes[LANES] __attribute__((aligned(64))), total = 0;
    VF_STORE(lanes, sums);
    for (int i = 0; i < LANES; i++) total += lanes[i];
    return total;
}

/* `width` is a multiple of LANES. */
static void NAME(normalize)(const Norm *op, const float *x, const float *y, float *out, uint8_t *steps) {
    VF sums = VF_SET(0), squares = VF_SET(0);
    for (size_t c = 0; c < op->width; c += LANES) {
        VF value = VF_LOAD(x + c);
        if (y != NULL) value = VF_ADD(value, VF_LOAD(y + c));
        VF_STORE(out + c, value);
        sums = VF_ADD(sums, value);
    }
    const VF mean = VF_SET(NAME(total)(sums) / (float)op->width);
    for (size_t c = 0; c < op->width; c += LANES) {
        const VF apart = VF_SUB(VF_LOAD(out + c), mean);
        squares = VF_FMA(apart, apart, squares);
    }
    const VF factor = VF_SET(1 / sqrtf(NAME(total)(squares) / (float)op->width + op->epsilon));
    for (size_t c = 0; c < op->width; c += LANES) {
        const VF apart = VF_MUL(VF_SUB(VF_LOAD(out + c), mean), factor);
        const VF value = VF_FMA(apart, VF_LOAD(op->gamma + c), VF_LOAD(op->beta + c));
        VF_STORE(out + c, value);
        VI_STORE_BYTES(steps + c, NAME(steps)(value, VF_LOAD(op->factors + c), VF_SET(op->out_zero)));
    }
}

#undef VECTORS
#undef GROUP
