/* Five bodies that attract each other, in double precision: additions, products, divisions and square
 * roots that wait for each other. Machines may fuse products with sums, so what is checked, and what the
 * result depends on, is the energy, to nine digits: it stays the same. */

#include "program.h"

#define BODIES 5
#define STEPS 1000
#define STEP 0.0005

static double x[BODIES][3], v[BODIES][3];
static const double mass[BODIES] = {40.0, 0.04, 0.01, 0.002, 0.0025};

/* Around the first body, each of the others on a circle of its own, inclined a little. */
static void start(void)
{
    for (int i = 0; i < BODIES; i++)
        for (int k = 0; k < 3; k++)
            x[i][k] = v[i][k] = 0;
    for (int i = 1; i < BODIES; i++) {
        double speed = __builtin_sqrt(mass[0] / (5.0 * i));
        x[i][i & 1] = 5.0 * i;
        x[i][2] = 0.01 * i;
        v[i][~i & 1] = i & 1 ? -speed : speed;
    }
}

static void advance(void)
{
    for (int i = 0; i < BODIES; i++)
        for (int j = i + 1; j < BODIES; j++) {
            double dx = x[i][0] - x[j][0], dy = x[i][1] - x[j][1], dz = x[i][2] - x[j][2];
            double square = dx * dx + dy * dy + dz * dz;
            double pull = STEP / (square * __builtin_sqrt(square));
            double mi = mass[i] * pull, mj = mass[j] * pull;
            v[i][0] -= dx * mj;
            v[i][1] -= dy * mj;
            v[i][2] -= dz * mj;
            v[j][0] += dx * mi;
            v[j][1] += dy * mi;
            v[j][2] += dz * mi;
        }
    for (int i = 0; i < BODIES; i++)
        for (int k = 0; k < 3; k++)
            x[i][k] += STEP * v[i][k];
}

static double energy(void)
{
    double sum = 0;
    for (int i = 0; i < BODIES; i++) {
        sum += mass[i] / 2 * (v[i][0] * v[i][0] + v[i][1] * v[i][1] + v[i][2] * v[i][2]);
        for (int j = i + 1; j < BODIES; j++) {
            double dx = x[i][0] - x[j][0], dy = x[i][1] - x[j][1], dz = x[i][2] - x[j][2];
            sum -= mass[i] * mass[j] / __builtin_sqrt(dx * dx + dy * dy + dz * dz);
        }
    }
    return sum;
}

u64 program(u64 rounds)
{
    start();
    double before = energy();
    u64 sum = fold(1, (u64)(long)(before * 1e9));
    while (rounds--) {
        for (int step = 0; step < STEPS; step++)
            advance();
        double drift = energy() / before - 1;
        if (drift < -1e-5 || drift > 1e-5)
            return 0;
        sum = fold(sum, STEPS);
    }
    return sum;
}
