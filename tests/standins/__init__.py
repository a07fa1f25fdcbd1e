"""Devices that are not there: real adbd and real sshd in private namespaces, for tests and benchmarks.

======================  ==================================================================================
``phone``               Android-shaped root, real ``adbd``, mksh and toybox; amd64 or arm64 (qemu-user)
``board``               real OpenSSH ``sshd``: this machine's own, or a Raspberry-Pi-shaped arm64 root
``unauthorized``        answers adb's hello and never authorises, or never answers at all
``adb_server``          an adb server of the tests' own; the developer's server and phones are not touched
======================  ==================================================================================

Below these: ``enclosure`` (namespaces and a cable; its inside half is ``enclosure_init`` with ``kernel``, ``mounts``
and ``cable``), ``debian`` (packages), ``build_cache`` (roots are built once), ``phone_root`` and ``board_root`` (what is
built), ``device_files`` (``/sys``, ``/proc/cpuinfo``). Emulated latency means nothing; what a stand-in proves is that
bytes arrive, programs run, and failures look as they do on a device.
"""
