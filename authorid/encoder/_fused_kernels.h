/* The loops of the fused operators, for one instruction set. _fused.c includes this file once for each.

   Before that it defines NAME(x), which adds the name of the instruction set to x, LANES (float32 values in a vector),
   ROWS (rows of a tile of a matrix product), and the types and macros of vectors: VI, VF, V_*.

   A value depends on its own row alone: neither on the other rows nor on where the row stands in a tile. */

/* ---- matrix product: u8 [rows, k] x s8 [k, 32] -> f32 or u8 [rows, 32] --------------------------------------------- */

#define VECTORS (PANEL / LANES)

/* Steps of u8: values * factors + zero, rounded to the nearest even and saturated. NaN becomes 0. */
static inline __attribute__((always_inline)) VI NAME(steps)(VF values, VF factors, VF zero) {
    return VI_ROUND(V_BELOW_256(VF_MAX(VF_FMA(values, factors, zero), VF_SET(0))));
}

/* Half of x and an even function of x, which is a polynomial in each of LANES parts of its range. */
static inline __attribute__((always_inline)) VF NAME(gelu)(VF x, const GeluTable *table) {
    const VF size = VF_SIZE(x);
    const VI part = VI_LEAST(VI_PART(VF_FMA(size, VF_SET(table->parts), VF_SET(table->round))), VI_SET(table->last));
    VF even = VF_LOOK_UP(table->terms + GELU_DEGREE * LANES, part);
    UNROLL
    for (int i = GELU_DEGREE - 1; i >= 0; i--) even = VF_FMA(even, size, VF_LOOK_UP(table->terms + i * LANES, part));
    return VF_FMA(x, VF_SET(0.5f), even);
}

/* A tile of the output: `rows` rows and `count` vectors of columns, both constants wherever this is inlined. All of it
   stays in registers. GCC keeps `sums` in memory as soon as one of the loops over it is not unrolled. Meanwhile weights of
   the next panel are fetched, `pace` bytes a step. */
static inline __attribute__((always_inline)) void NAME(sums)(
    const int rows, const int count, const int wide, const int gelu, const Linear *op, const uint8_t *a, const int8_t *b,
    size_t column, void *out, size_t stride, const int8_t *ahead, size_t pace) {
    const size_t steps = op->steps;
    const float *const scales = op->scales + column, *const bias = op->bias + column, *const factors = op->factors + column;
    VI sums[MOST_ROWS][VECTORS];
    UNROLL
    for (int i = 0; i < rows; i++)
        UNROLL
        for (int j = 0; j < count; j++) sums[i][j] = VI_LOAD(op->start + column + j * LANES);
    const size_t stride_of_a = 4 * steps;
    const uint8_t *fours[(MOST_ROWS + 3) / 4]; /* each fourth row: GCC has too few registers for the addresses of all */
    UNROLL
    for (int i = 0; i < rows; i += 4) {
        fours[i / 4] = a + i * stride_of_a;
        __asm__("" : "+r"(fours[i / 4]));
    }
    size_t step = 0;
    (void)wide;
    if (steps == 0) __builtin_unreachable();
#ifdef V_DOT_TWICE
    if (wide)
        for (; step + 2 <= steps; step += 2, b += 8 * PANEL, ahead += 2 * pace) {
            __builtin_prefetch(ahead, 0, 2);
            UNROLL
            for (int j = 0; j < count; j++) {
                const VI near = VI_LOAD(b + 4 * j * LANES), far = VI_LOAD(b + 4 * PANEL + 4 * j * LANES);
                UNROLL
                for (int i = 0; i < rows; i++) {
                    const uint8_t *row = fours[i / 4] + i % 4 * stride_of_a;
                    sums[i][j] = V_DOT_TWICE(sums[i][j], VI_BYTES(row), near, VI_BYTES(row + 4), far);
                }
            }
            UNROLL
            for (int i = 0; i < rows; i += 4) fours[i / 4] += 8;
        }
#endif
    for (; step < steps; step++, b += 4 * PANEL, ahead += pace) {
        VI weights[VECTORS];
        __builtin_prefetch(ahead, 0, 2);
        UNROLL
        for (int j = 0; j < count; j++) weights[j] = VI_LOAD(b + 4 * j * LANES);
        UNROLL
        for (int i = 0; i < rows; i++) {
            const VI bytes = VI_BYTES(fours[i / 4] + i % 4 * stride_of_a);
            UNROLL
            for (int j = 0; j < count; j++) sums[i][j] = V_DOT(sums[i][j], bytes, weights[j]);
        }
        UNROLL
        for (int i = 0; i < rows; i += 4) fours[i / 4] += 4;
    }
    const GeluTable *table = op->gelu;
    __asm__ volatile("" : "+r"(table) : : "memory"); /* constants are not loaded before, for want of registers */
    const VF zero = VF_SET(op->out_zero);
    UNROLL
    for (int i = 0; i < rows; i++) {
        VF values[VECTORS];
        UNROLL
        for (int j = 0; j < count; j++) {
            values[j] = VF_FMA(VF_OF(sums[i][j]), VF_LOAD(scales + j * LANES), VF_LOAD(bias + j * LANES));
            if (!gelu) VF_STORE((float *)out + i * stride + j * LANES, values[j]);
            else sums[i][j] = VI_ROUND(VF_FMA(NAME(gelu)(values[j], table), VF_LOAD(factors + j * LANES), zero));
        }
        UNROLL
        for (int j = 0; gelu && j < count; j += 2)
            VI_STORE_BYTES_OF_TWO((uint8_t *)out + i * stride + j * LANES, sums[i][j], sums[i][j + 1]);
    }
}

/* As many rows of a panel as registers can hold, at most `left`; returns how many. */
static inline __attribute__((always_inline)) size_t NAME(tile)(
    const int gelu, size_t left, const Linear *op, const uint8_t *a, size_t panel, char *out, size_t stride,
    const int8_t *ahead, size_t pace) {
    const int8_t *b = op->weights + panel * op->steps * 4 * PANEL;
#define ROWS_AT_ONCE(rows, count, wide) \
    if (left >= rows) { \
        for (int j = 0; j < VECTORS; j += count) \
            NAME(sums)(rows, count, wide, gelu, op, a, b + 4 * j * LANES, panel * PANEL + j * LANES, \
                       out + j * LANES * (gelu ? 1 : sizeof(float)), stride, ahead, pace); \
        return rows; \
    }
    TILES
#undef ROWS_AT_ONCE
    return 0;
}

static inline __attribute__((always_inline)) void NAME(panel_of)(
    const int gelu, const Linear *op, const uint8_t *x, size_t rows, size_t panel, char *out) {
    const size_t first = panel * PANEL, n = op->width - first < PANEL ? op->width - first : PANEL;
    const size_t size = gelu ? 1 : sizeof(float);
    const size_t tiles = (rows + MOST_ROWS - 1) / MOST_ROWS, pace = (4 * PANEL + tiles - 1) / tiles;
    const int8_t *ahead = op->weights + (panel + 1) * op->steps * 4 * PANEL; /* after the last: the next product's */
    char part[MOST_ROWS * PANEL * sizeof(float)] __attribute__((aligned(64)));
    for (size_t row = 0, done; row < rows; row += done, ahead += pace * op->steps) {
        char *target = out + (row * op->width + first) * size;
        const uint8_t *a = x + row * 4 * op->steps;
        done = NAME(tile)(gelu, rows - row, op, a, panel, n == PANEL ? target : part, n == PANEL ? op->width : PANEL, ahead, pace);
        for (size_t i = 0; n != PANEL && i < done; i++) memcpy(target + i * op->width * size, part + i * PANEL * size, n * size);
    }
}

static void NAME(panel)(const Linear *op, const uint8_t *x, size_t rows, size_t panel, void *out) {
    if (op->factors == NULL) NAME(panel_of)(0, op, x, rows, panel, out);
    else NAME(panel_of)(1, op, x, rows, panel, out);
}

/* ---- attention of one head of one window -------------------------------------------------------------------------- */

/* Queries, keys, values and shares are whole numbers of 16 bits here, two of which are multiplied and added at once. Each
   query and each share has as many bits as fit sums of 32 bits: SPAN * SPAN is less than 2^30, and so is the product of a
   query and a key that are no longer than SPAN. Columns of keys and of values are stored in groups of GROUP, so that a
   pass over a group reads memory in order. */
#define GROUP (2 * LANES)

/* Powers of 2 for exponents of -126 to 0; off by 3e-6 of the result at most. */
static inline __attribute__((always_inline)) VF NAME(power)(VF x) {
    const VF round = VF_SET(12582912.0f); /* 1.5 * 2^23: the last bits of a sum with it are the rounded exponent */
    const VF sum = VF_ADD(x, round), r = VF_SUB(x, VF_SUB(sum, round));
    VF p = VF_SET(9.570101792e-3f);
    p = VF_FMA(p, r, VF_SET(5.591786031e-2f));
    p = VF_FMA(p, r, VF_SET(2.402474483e-1f));
    p = VF_FMA(p, r, VF_SET(6.931218147e-1f));
    p = VF_FMA(p, r, VF_SET(9.999992614e-1f));
    return VF_ADD_EXPONENT(p, sum);
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

/* Softmax of `count` sums in each of QUERIES rows, which are to be multiplied by the row's scale, as powers of 2 rather
   than of e: `shares` are whole numbers whose total is the result. Shares after them, up to a whole group, become 0. Each
   step is taken for all rows before the next, so that rows need not wait for their own maxima and totals. */
static void NAME(softmax)(int32_t *sums, size_t count, const float *scales, int32_t *shares, float *totals) {
    const size_t padded = (count + GROUP - 1) / GROUP * GROUP, whole = count / LANES * LANES;
    int32_t highest[QUERIES];
    VF parts[QUERIES];
    float factors[QUERIES];
    for (int row = 0; row < QUERIES; row++) {
        int32_t *own = sums + row * padded;
        for (size_t i = count; i < padded; i++) own[i] = INT32_MIN / 2;
        VI most = VI_LOAD(own);
        for (size_t i = LANES; i < padded; i += LANES) most = VI_MAX(most, VI_LOAD(own + i));
        highest[row] = VI_HIGHEST(most);
    }
    for (int row = 0; row < QUERIES; row++) {
        int32_t *own = sums + row * padded;
        float *powers = (float *)own;
        const float range = 126 / scales[row];
        const VI most = VI_SET(highest[row]), lowest = VI_SET(range < 2147483520.0f ? -(int32_t)range : INT32_MIN);
        const VF scale = VF_SET(scales[row]);
        VF total = VF_SET(0);
        size_t i = 0;
        for (; i < whole; i += LANES) {
            const VF part = NAME(power)(VF_MUL(VF_OF(VI_MAX(VI_SUB(VI_LOAD(own + i), most), lowest)), scale));
            VF_STORE(powers + i, part);
            total = VF_ADD(total, part);
        }
        for (; i < padded; i += LANES) {
            const VF part = VF_FIRST(NAME(power)(VF_MUL(VF_OF(VI_MAX(VI_SUB(VI_LOAD(own + i), most), lowest)), scale)), i < count ? (int)(count - i) : 0);
            VF_STORE(powers + i, part);
            total = VF_ADD(total, part);
        }
        parts[row] = total;
    }
    for (int row = 0; row < QUERIES; row++) totals[row] = VF_TOTAL(parts[row]);
    for (int row = 0; row < QUERIES; row++) {
        factors[row] = SHARES / totals[row] < 32767 ? SHARES / totals[row] : 32767;
        totals[row] *= factors[row];
    }
    for (int row = 0; row < QUERIES; row++) {
        const float *powers = (const float *)sums + row * padded;
        const VF factor = VF_SET(factors[row]);
        int16_t *to = (int16_t *)(shares + row * padded / 2);
        for (size_t i = 0; i < padded; i += GROUP)
            VI_STORE_WORDS_OF_TWO(to + i, VI_ROUND(VF_MUL(VF_LOAD(powers + i), factor)),
                                  VI_ROUND(VF_MUL(VF_LOAD(powers + i + LANES), factor)));
    }
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
    for (size_t c = 0; c < dp; c += GROUP) {
        const size_t left = d - c, next = left > LANES ? left - LANES : 0;
        const VF low = VF_LOAD_FIRST(row + c, left), high = VF_LOAD_FIRST(row + c + LANES, next);
        VI_STORE_WORDS_OF_TWO((int16_t *)words + c, VI_ROUND(VF_MUL(low, VF_SET(factor))), VI_ROUND(VF_MUL(high, VF_SET(factor))));
    }
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
        float scales[QUERIES], to_steps[QUERIES];
        const float *rows_of_q[QUERIES];
        for (size_t i = 0; i < QUERIES; i++) { /* rows past the end repeat the last one */
            const float *query = rows_of_q[i] = call->q + (first + (i < left ? i : left - 1)) * stride + at;
            for (size_t c = 0; first + i + QUERIES < t && c < d; c += 16) __builtin_prefetch(query + QUERIES * stride + c);
            to_steps[i] = NAME(squares)(query, d);
        }
        for (size_t i = 0; i < QUERIES; i++) {
            const float length = sqrtf(to_steps[i]);
            to_steps[i] = length > 1e-30f ? SPAN / length : 0;
            scales[i] = length / SPAN * (key_step * op->scale * 1.44269504f);
        }
        for (size_t i = 0; i < QUERIES; i++) NAME(words)(rows_of_q[i], d, dp, to_steps[i], queries + i * dp / 2);
        NAME(products)(queries, dp / 2, keys, pairs, sums, sp);
        float totals[QUERIES];
        NAME(softmax)(sums, s, scales, shares, totals);
        NAME(products)(shares, sp / 2, values, rows, mixed, dp);
        for (size_t i = 0; i < left; i++) {
            uint8_t *target = call->out + (first + i) * stride + at, part[LANES];
            for (size_t c = 0; c < d; c += LANES) {
                const VF value = VF_MUL(VF_OF(VI_LOAD(mixed + i * dp + c)), VF_SET(value_step / totals[i]));
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

/* `rows` rows, a constant wherever this is inlined; they do not wait for each other's sums. `width` is a multiple of LANES. */
static inline __attribute__((always_inline)) void NAME(normalize_rows)(
    const int rows, const Norm *op, const float *x, const float *y, float *out, uint8_t *steps) {
    const size_t width = op->width;
    VF sums[NORM_TOGETHER], squares[NORM_TOGETHER], means[NORM_TOGETHER], factors[NORM_TOGETHER];
    UNROLL
    for (int i = 0; i < rows; i++) sums[i] = squares[i] = VF_SET(0);
    for (size_t c = 0; c < width; c += LANES)
        UNROLL
        for (int i = 0; i < rows; i++) {
            VF value = VF_LOAD(x + i * width + c);
            if (y != NULL) value = VF_ADD(value, VF_LOAD(y + i * width + c));
            VF_STORE(out + i * width + c, value);
            sums[i] = VF_ADD(sums[i], value);
        }
    UNROLL
    for (int i = 0; i < rows; i++) means[i] = VF_SET(VF_TOTAL(sums[i]) / (float)width);
    for (size_t c = 0; c < width; c += LANES)
        UNROLL
        for (int i = 0; i < rows; i++) {
            const VF apart = VF_SUB(VF_LOAD(out + i * width + c), means[i]);
            squares[i] = VF_FMA(apart, apart, squares[i]);
        }
    UNROLL
    for (int i = 0; i < rows; i++) factors[i] = VF_SET(1 / sqrtf(VF_TOTAL(squares[i]) / (float)width + op->epsilon));
    const float *const gamma = op->gamma, *const beta = op->beta, *const to_steps = op->factors;
    const VF zero = VF_SET(op->out_zero);
    for (size_t c = 0; c < width; c += LANES)
        UNROLL
        for (int i = 0; i < rows; i++) {
            const VF apart = VF_MUL(VF_SUB(VF_LOAD(out + i * width + c), means[i]), factors[i]);
            const VF value = VF_FMA(apart, VF_LOAD(gamma + c), VF_LOAD(beta + c));
            VF_STORE(out + i * width + c, value);
            VI_STORE_BYTES(steps + i * width + c, NAME(steps)(value, VF_LOAD(to_steps + c), zero));
        }
}

static void NAME(normalize)(const Norm *op, size_t rows, const float *x, const float *y, float *out, uint8_t *steps) {
    size_t row = 0, at = 0;
    for (; row + NORM_TOGETHER <= rows; row += NORM_TOGETHER, at = row * op->width)
        NAME(normalize_rows)(NORM_TOGETHER, op, x + at, y == NULL ? NULL : y + at, out + at, steps + at);
    for (; row < rows; row++, at = row * op->width)
        NAME(normalize_rows)(1, op, x + at, y == NULL ? NULL : y + at, out + at, steps + at);
}

#undef VECTORS
#undef GROUP
