// NEVER COMPILED, NEVER RUN by the project: no Mac was at hand. Written from Apple's documentation.
// The runner protocol, step by step (docs/runner-protocol.md).

import Foundation

/// What the host has to be told; `stage` is one of the protocol's.
struct Failure: Error {
    let stage: String
    let message: String
}

struct Session {
    static let schema = "edgedeploy.runner/1"
    static let warmUpsTold = 10_000
    let battery: Battery

    /// Does what the arguments say, writes the document, and gives the exit code.
    func run(_ words: [String]) -> Int32 {
        var place: URL?
        var document: [String: Any]
        var code: Int32 = 0
        do {
            let arguments = try Arguments(words)
            let file = try Container.url(arguments.document)
            let runs = file.deletingLastPathComponent()
            guard runs.lastPathComponent == "runs" else { throw Failure(stage: "usage", message: "--document \(file.path)") }
            // What earlier starts left there; nothing else can remove it.
            try? FileManager.default.removeItem(at: runs)
            try FileManager.default.createDirectory(at: runs, withIntermediateDirectories: true)
            place = file
            document = try answer(arguments, scratch: runs.appendingPathComponent("laid-out", isDirectory: true))
            document["schema"] = Self.schema
            document["runner"] = identity()
            document["device"] = deviceFacts(battery)
        } catch let failure as Failure {
            code = failure.stage == "usage" ? 64 : 1
            document = ["schema": Self.schema, "error": ["stage": failure.stage, "message": failure.message]]
        } catch {
            code = 1
            document = ["schema": Self.schema, "error": ["stage": "read", "message": "\(error)"]]
        }
        guard let content = try? JSONSerialization.data(withJSONObject: document) else { return 1 }
        if let place {
            do { try content.write(to: place, options: .atomic) } catch { return 1 }
        } else {
            FileHandle.standardOutput.write(content)
        }
        return code
    }

    private func answer(_ arguments: Arguments, scratch: URL) throws -> [String: Any] {
        if arguments.model.isEmpty {
            for path in arguments.removed {
                let url = try Container.url(path)
                if FileManager.default.fileExists(atPath: url.path) { try FileManager.default.removeItem(at: url) }
            }
            let damaged = try arguments.checked.map(Container.url).filter { url in
                (try? sha256(of: url)) != url.lastPathComponent
            }
            return ["damaged": damaged.map(\.lastPathComponent)]
        }
        return try measured(arguments, scratch: scratch)
    }

    private func measured(_ arguments: Arguments, scratch: URL) throws -> [String: Any] {
        if arguments.profile > 0 { throw Failure(stage: "load", message: "Core ML does not tell the time per operator") }
        let model = try Release.lay(arguments.model, in: scratch)
        let cases = try Cases(arguments.inputs, scratch: scratch)
        let footprintBefore = footprint().now
        let engine = CoreMLEngine(package: model.url, method: arguments.method, units: arguments.units)
        let began = now()
        let compileNs = try engine.load()
        let loadNs = now() - began
        try engine.bind(arguments.inputs)

        let outputDir = try Container.url(arguments.outputDir)
        try FileManager.default.createDirectory(at: outputDir, withIntermediateDirectories: true)
        var firstNs: UInt64 = 0
        var outputs: [Output] = []
        for index in 0..<cases.count {
            let features = try engine.features(cases.part(index), of: arguments.inputs)
            let start = now()
            let predicted = try engine.predict(features)
            if index == 0 { firstNs = now() - start }
            let said = try engine.outputs(predicted)
            if index == 0 {
                outputs = said
            } else {
                for position in outputs.indices { outputs[position].bytes.append(said[position].bytes) }
            }
        }
        for (index, output) in outputs.enumerated() {
            let file = outputDir.appendingPathComponent("output_\(index).bin")
            do { try output.bytes.write(to: file) } catch { throw Failure(stage: "output", message: "\(file.path): \(error)") }
        }

        let used = arguments.vary ? cases.count : 1
        let features = try (0..<used).map { try engine.features(cases.part($0), of: arguments.inputs) }
        let warmed = try warmUp(engine, features, arguments)
        let latencyNs = try times(
            engine, features, most: arguments.iterations, atLeast: arguments.minSeconds, within: arguments.maxSeconds)
        var document: [String: Any] = [
            "model": ["sha256": model.sha256, "size_bytes": model.sizeBytes] as [String: Any],
            "threads": 0,
            "cpus": [Int](),
            "clock": ["name": "CLOCK_UPTIME_RAW", "resolution_ns": clockResolutionNs()] as [String: Any],
            "load_ns": loadNs,
            "compile_ns": compileNs,
            "first_inference_ns": firstNs,
            "warmup_ns": Array(warmed.ns.prefix(max(arguments.warmup, Self.warmUpsTold))),
            "latency_ns": latencyNs,
            "rss_before_load_bytes": footprintBefore,
            "peak_rss_bytes": footprint().peak,
            "cases": cases.count,
            "outputs": outputs.enumerated().map { index, output in
                ["dtype": output.dtype, "shape": output.shape, "file": "output_\(index).bin"] as [String: Any]
            },
        ]
        if arguments.warmupSeconds > 0, arguments.iterations > 0 {
            document["warmup_iterations"] = warmed.ns.count
            if let steady = warmed.watch.steady {
                document["steady"] = ["since": steady.since, "known": steady.known]
            } else {
                document["steady"] = NSNull()
            }
        }
        return document
    }

    /// As many iterations as were asked for; then until the process is steady, or the time for that is over.
    private func warmUp(
        _ engine: CoreMLEngine, _ features: [Features], _ arguments: Arguments
    ) throws -> (ns: [UInt64], watch: SteadyWatch) {
        var watch = SteadyWatch()
        guard arguments.iterations > 0 else { return ([], watch) }
        let began = now()
        var taken = try times(engine, features, most: arguments.warmup, atLeast: 0, within: .infinity)
        guard arguments.warmupSeconds > 0 else { return (taken, watch) }
        for ns in taken { watch.take(ns) }
        while watch.steady == nil, Double(now() - began) < arguments.warmupSeconds * 1e9 {
            let one = features[taken.count % features.count]
            let ns = try times(engine, [one], most: 1, atLeast: 0, within: .infinity)[0]
            taken.append(ns)
            watch.take(ns)
        }
        return (taken, watch)
    }

    /// One time per iteration, the cases in turn; what a prediction leaves behind is freed outside of the readings.
    private func times(
        _ engine: CoreMLEngine, _ features: [Features], most: Int, atLeast least: Double, within seconds: Double
    ) throws -> [UInt64] {
        var taken: [UInt64] = []
        taken.reserveCapacity(most)
        let began = now()
        while most > 0 {
            let spent = Double(now() - began) / 1e9
            let enough = taken.count >= most && spent >= least
            if enough || (!taken.isEmpty && spent >= seconds) { break }
            try autoreleasepool {
                let start = now()
                let predicted = try engine.predict(features[taken.count % features.count])
                let end = now()
                withExtendedLifetime(predicted) { taken.append(end - start) }
            }
        }
        return taken
    }

    private func identity() -> [String: Any] {
        let system = ProcessInfo.processInfo.operatingSystemVersion
        let version = "iOS \(system.majorVersion).\(system.minorVersion).\(system.patchVersion)"
        return ["name": "edgedeploy-runner", "version": "0.1.0", "engine": "coreml", "engine_version": version]
    }
}
