// NEVER COMPILED, NEVER RUN by the project: no Mac was at hand. Written from Apple's documentation.
// Is the process warm? The rule of edgedeploy/stats/steady.py, latency by latency, as runner/src/steady.c has it.

struct SteadyWatch {
    private struct Window {
        let first: Int
        let low: UInt64
        let median: UInt64
        let high: UInt64
    }

    private static let iterations = 8
    private static let spanNs: UInt64 = 100_000_000
    private static let windows = 3
    private static let tolerance = 0.01

    /// From which iteration on it was steady, and after how many that was known; nil: not yet.
    private(set) var steady: (since: Int, known: Int)?
    private var seen = 0
    private var window: [UInt64] = []
    private var spentNs: UInt64 = 0
    private var last: [Window] = []

    mutating func take(_ ns: UInt64) {
        guard steady == nil else { return }
        seen += 1
        spentNs += ns
        window.append(ns)
        guard window.count >= Self.iterations, spentNs >= Self.spanNs else { return }
        let sorted = window.sorted()
        let quarter = (sorted.count - 1) / 4
        let closed = Window(
            first: seen - sorted.count, low: sorted[quarter], median: sorted[sorted.count / 2],
            high: sorted[sorted.count - 1 - quarter])
        last = Array((last + [closed]).suffix(Self.windows))
        window.removeAll(keepingCapacity: true)
        spentNs = 0
        guard last.count == Self.windows else { return }
        let medians = last.map(\.median)
        guard let least = medians.min(), let most = medians.max(), let low = last.map(\.low).max(), let high = last.map(\.high).min()
        else { return }
        if (low <= least && most <= high) || Double(most) <= (1 + Self.tolerance) * Double(least) {
            steady = (since: last[0].first, known: seen)
        }
    }
}
