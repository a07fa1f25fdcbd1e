// NEVER COMPILED, NEVER RUN by the project: no Mac was at hand. Written from Apple's documentation.
// A release on the phone: blobs under their SHA-256 and a manifest, laid out as the files that Core ML wants to see.

import CryptoKit
import Foundation

enum Container {
    /// A path in the app's container; none leads out of it.
    static func url(_ path: String) throws -> URL {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        guard !parts.contains(where: { $0.isEmpty || $0 == "." || $0 == ".." }) else {
            throw Failure(stage: "usage", message: "\(path) is no path in the container")
        }
        return URL(fileURLWithPath: NSHomeDirectory(), isDirectory: true).appendingPathComponent(path)
    }
}

struct Laid {
    let url: URL
    let sha256: String
    let sizeBytes: Int
}

enum Release {
    private struct Manifest: Decodable {
        struct Entry: Decodable {
            let path: String
            let sha256: String
            let size_bytes: Int
        }

        let files: [Entry]
    }

    /// Copies a file or folder of a release into `scratch`, from blobs that are what their names say.
    ///
    /// A copy is a clone on APFS, which takes no space. The digest is that of the copy, which is what is loaded: of a file its
    /// own; of a folder, over the lines of its files.
    static func lay(_ path: String, in scratch: URL) throws -> Laid {
        let (release, wanted) = try split(path)
        let manifestURL = try Container.url("\(release)/manifest.json")
        guard let content = try? Data(contentsOf: manifestURL),
              let manifest = try? JSONDecoder().decode(Manifest.self, from: content)
        else { throw Failure(stage: "read", message: "\(release)/manifest.json cannot be read") }
        let entries = manifest.files.filter { $0.path == wanted || $0.path.hasPrefix(wanted + "/") }
        guard !entries.isEmpty else { throw Failure(stage: "read", message: "\(wanted) is not in the release") }
        let blobs = try Container.url(release.components(separatedBy: "/projects/")[0] + "/blobs")
        for entry in entries { try lay(entry, from: blobs, in: scratch) }
        let url = scratch.appendingPathComponent(wanted)
        let size = entries.reduce(0) { $0 + $1.size_bytes }
        if entries.count == 1, entries[0].path == wanted { return Laid(url: url, sha256: entries[0].sha256, sizeBytes: size) }
        let lines = entries
            .map { (name: String($0.path.dropFirst(wanted.count + 1)), sha256: $0.sha256) }
            .sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
            .map { "\($0.sha256)  \($0.name)\n" }
        return Laid(url: url, sha256: hex(SHA256.hash(data: Data(lines.joined().utf8))), sizeBytes: size)
    }

    private static func lay(_ entry: Manifest.Entry, from blobs: URL, in scratch: URL) throws {
        guard !entry.path.split(separator: "/").contains(".."), !entry.sha256.contains("/") else {
            throw Failure(stage: "read", message: "\(entry.path) would leave the release")
        }
        let copy = scratch.appendingPathComponent(entry.path)
        let found: String
        do {
            try FileManager.default.createDirectory(at: copy.deletingLastPathComponent(), withIntermediateDirectories: true)
            if FileManager.default.fileExists(atPath: copy.path) { return }
            try FileManager.default.copyItem(at: blobs.appendingPathComponent(entry.sha256), to: copy)
            found = try sha256(of: copy)
        } catch {
            throw Failure(stage: "read", message: "\(entry.path): its blob cannot be read: \(error.localizedDescription)")
        }
        guard found == entry.sha256 else { throw Failure(stage: "read", message: "\(entry.path): its blob is damaged") }
    }

    /// `…/projects/NAME/releases/N/REST` in two: the release, and the rest.
    private static func split(_ path: String) throws -> (String, String) {
        let parts = path.components(separatedBy: "/")
        guard let projects = parts.firstIndex(of: "projects"), projects > 0, parts.count > projects + 4,
              parts[projects + 2] == "releases"
        else { throw Failure(stage: "read", message: "\(path) is in no release") }
        let end = projects + 4
        return (parts[..<end].joined(separator: "/"), parts[end...].joined(separator: "/"))
    }
}

/// In lower-case hex; a piece at a time, as a model may be larger than what an app gets of the memory.
func sha256(of url: URL) throws -> String {
    let file = try FileHandle(forReadingFrom: url)
    defer { try? file.close() }
    var hash = SHA256()
    while try autoreleasepool(invoking: { () -> Bool in
        guard let piece = try file.read(upToCount: 1 << 20), !piece.isEmpty else { return false }
        hash.update(data: piece)
        return true
    }) {}
    return hex(hash.finalize())
}

private func hex(_ digest: SHA256.Digest) -> String {
    digest.map { String(format: "%02x", $0) }.joined()
}

/// The inputs of all cases, as they lie in the files.
struct Cases {
    let count: Int
    private let files: [Data]

    init(_ inputs: [Input], scratch: URL) throws {
        files = try inputs.map { input in
            let laid = try Release.lay(input.file, in: scratch)
            guard let content = try? Data(contentsOf: laid.url) else {
                throw Failure(stage: "read", message: "\(input.file) cannot be read")
            }
            return content
        }
        let counts = try zip(inputs, files).map { input, file in
            guard !file.isEmpty, file.count % input.sizeBytes == 0 else {
                throw Failure(stage: "input", message: "\(input.file) has \(file.count) bytes, which is no multiple of \(input.words)")
            }
            return file.count / input.sizeBytes
        }
        guard let first = counts.first, Set(counts).count == 1 else {
            throw Failure(stage: "input", message: "the inputs have \(counts) cases")
        }
        count = first
    }

    /// The bytes of one case, an entry per input.
    func part(_ index: Int) -> [Data] {
        files.map { file in
            let size = file.count / count
            return file.subdata(in: (index * size)..<((index + 1) * size))
        }
    }
}
