// NEVER COMPILED, NEVER RUN by the project: no Mac was at hand. Written from Apple's documentation.
// What the host asks for. Paths are named from the app's container on.

import CoreML
import Foundation

struct Input {
    let dtype: String
    let shape: [Int]
    let file: String

    static let elementBytes = ["float16": 2, "float32": 4, "float64": 8, "int32": 4]

    var sizeBytes: Int { shape.reduce(Self.elementBytes[dtype] ?? 1, *) }
    var words: String { "\(dtype)[\(shape.map(String.init).joined(separator: ","))]" }

    init(_ word: String) throws {
        let parts = word.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false).map(String.init)
        let dims = parts.count == 3 ? parts[1].split(separator: ",").map { Int($0) } : [nil]
        guard !dims.contains(where: { ($0 ?? 0) <= 0 }) else { throw Failure(stage: "usage", message: "--input \(word)") }
        guard Self.elementBytes[parts[0]] != nil else {
            throw Failure(stage: "input", message: "Core ML takes no inputs of \(parts[0])")
        }
        (dtype, shape, file) = (parts[0], dims.compactMap { $0 }, parts[2])
    }
}

struct Arguments {
    var document = ""
    var model = ""
    var method: String?
    var outputDir = ""
    var inputs: [Input] = []
    var units = MLComputeUnits.all
    var warmup = 5
    var warmupSeconds = 0.0
    var iterations = 50
    var minSeconds = 0.0
    var maxSeconds = 30.0
    var vary = false
    var profile = 0
    var checked: [String] = []
    var removed: [String] = []

    private static let unitsByName: [String: MLComputeUnits] = [
        "all": .all, "cpu-only": .cpuOnly, "cpu-and-gpu": .cpuAndGPU, "cpu-and-ne": .cpuAndNeuralEngine,
    ]

    init(_ words: [String]) throws {
        // devicectl may hand on the word that parts its own options from ours.
        var rest = words.first == "--" ? words.dropFirst() : words[...]
        while let name = rest.popFirst() {
            if name == "--facts" { continue }
            guard let value = rest.popFirst() else { throw Failure(stage: "usage", message: "\(name) takes a value") }
            switch name {
            case "--document": document = value
            case "--model": model = value
            case "--method": method = value
            case "--output-dir": outputDir = value
            case "--input": inputs.append(try Input(value))
            case "--compute-units":
                guard let found = Self.unitsByName[value] else { throw Failure(stage: "usage", message: "\(name) \(value)") }
                units = found
            case "--warmup": warmup = try Self.count(name, value)
            case "--iterations": iterations = try Self.count(name, value)
            case "--max-seconds":
                maxSeconds = try Self.seconds(name, value)
                guard maxSeconds > 0 else { throw Failure(stage: "usage", message: "\(name) \(value)") }
            case "--min-seconds": minSeconds = try Self.seconds(name, value)
            case "--warmup-seconds": warmupSeconds = try Self.seconds(name, value)
            case "--vary": vary = try Self.count(name, value) == 1
            case "--cold": _ = try Self.count(name, value)  // iOS lets no app empty the page cache
            case "--threads":
                guard try Self.count(name, value) <= 1 else {
                    throw Failure(stage: "usage", message: "Core ML chooses its threads itself: --threads has to be 0 or 1")
                }
            case "--profile": profile = try Self.count(name, value)
            case "--check": checked.append(value)
            case "--remove": removed.append(value)
            default: throw Failure(stage: "usage", message: "\(name) is unknown to the app, or cannot be done on iOS")
            }
        }
        guard !document.isEmpty else { throw Failure(stage: "usage", message: "--document is missing") }
        guard model.isEmpty || !outputDir.isEmpty else { throw Failure(stage: "usage", message: "--output-dir is missing") }
    }

    private static func seconds(_ name: String, _ value: String) throws -> Double {
        guard let number = Double(value), number >= 0, number.isFinite else {
            throw Failure(stage: "usage", message: "\(name) \(value)")
        }
        return number
    }

    private static func count(_ name: String, _ value: String) throws -> Int {
        guard let number = Int(value), (0...10_000_000).contains(number) else {
            throw Failure(stage: "usage", message: "\(name) \(value)")
        }
        return number
    }
}
