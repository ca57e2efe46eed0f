// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {ILedger} from "../ILedger.sol";
import {Bn254} from "../libraries/Bn254.sol";
import {Challenges} from "../libraries/Challenges.sol";
import {Counters} from "../libraries/Counters.sol";

/// @title Everything the contract stores and fixes, and what more than one part does with it
/// @dev `Rollup` runs part of its code, `Annex`, by delegatecall: both are ledgers and neither adds a storage variable, so both see the same storage; what is
/// immutable is given to both by `Settings`.
abstract contract Ledger is ILedger {
    using Counters for uint256;
    using Counters for Counters.Values;

    /// Number of the native coin.
    uint16 internal constant NATIVE = 1;
    /// A token's supply inside the rollup stays below.
    uint256 internal constant SUPPLY_CAP = 1 << 112;

    /// What is immutable.
    struct Settings {
        uint256 domain;
        uint256 k;
        address operator;
        uint256 listingFee;
        uint256 queueFee;
        uint256 forceTimeout;
        uint256 proveTimeout;
        uint256 queueRate;
        uint256 circuitCount;
        uint256[4] shapes;
        address keys;
    }

    /// Shapes of the circuits, two to a word, see `Shapes`.
    uint256 private immutable shapes12;
    uint256 private immutable shapes34;
    uint256 private immutable shapes56;
    uint256 private immutable shapes78;

    uint256 public immutable override domain;
    uint256 public immutable override k;
    address public immutable override operator;
    uint256 public immutable override listingFee;
    uint256 public immutable override queueFee;
    uint256 public immutable override forceTimeout;
    uint256 public immutable override proveTimeout;
    uint256 public immutable override queueRate;
    uint256 public immutable override circuitCount;
    address public immutable override keys;

    bytes32 public override stateRoot;
    /// See `Counters`.
    uint256 internal counters;

    mapping(uint256 number => bytes32) public override batchHash;
    mapping(uint256 index => bytes32) public override queueDigest;
    mapping(uint256 index => uint256) public override queueDeadline;
    /// Last queue entry of a (kind, idx, requester), see `requestKey`.
    mapping(uint256 request => uint256 index) internal lastRequest;
    mapping(uint256 number => mapping(uint256 word => uint256)) internal settledBits;
    mapping(uint256 word => uint256) internal refundedBits;
    mapping(uint256 word => uint256) internal exitedBits;
    mapping(uint16 token => address) public override tokenAddress;
    mapping(address erc20 => uint16) public override tokenId;
    mapping(uint16 token => mapping(address account => uint256)) public override claimable;
    mapping(uint16 token => uint256) public override escrow;
    uint256 internal feesPaid;

    /// 0 or 1, a whole word: a smaller type would be read whenever it is written.
    uint256 private transient entered;

    constructor(Settings memory settings) {
        domain = settings.domain;
        k = settings.k;
        operator = settings.operator;
        listingFee = settings.listingFee;
        queueFee = settings.queueFee;
        forceTimeout = settings.forceTimeout;
        proveTimeout = settings.proveTimeout;
        queueRate = settings.queueRate;
        circuitCount = settings.circuitCount;
        shapes12 = settings.shapes[0];
        shapes34 = settings.shapes[1];
        shapes56 = settings.shapes[2];
        shapes78 = settings.shapes[3];
        keys = settings.keys;
    }

    /// Nothing here may be entered while a token or a recipient is being called.
    modifier nonReentrant() {
        enter();
        _;
        entered = 0;
    }

    /// Not in the modifier itself, whose code every entry point repeats.
    function enter() private {
        if (entered != 0) revert Reentered();
        entered = 1;
    }

    // ---- views ----

    function committed() external view returns (uint256) {
        return counters.unpack().committed;
    }

    function proven() external view returns (uint256) {
        return counters.unpack().proven;
    }

    function pendingSince() external view returns (uint256) {
        return counters.unpack().pendingSince;
    }

    function frozen() external view returns (bool) {
        return counters.isFrozen();
    }

    function queueLength() external view returns (uint256) {
        return counters.unpack().queued;
    }

    function queueCommitted() external view returns (uint256) {
        return counters.unpack().queueCommitted;
    }

    function queueProven() external view returns (uint256) {
        return counters.unpack().queueProven;
    }

    function lastToken() external view returns (uint16) {
        return uint16(counters.unpack().lastToken);
    }

    function settled(uint256 number, uint256 item) external view returns (bool) {
        return isMarked(settledBits[number], item);
    }

    function refunded(uint256 index) external view returns (bool) {
        return isMarked(refundedBits, index);
    }

    function exited(uint256 idx) external view returns (bool) {
        return isMarked(exitedBits, idx);
    }

    /// Derived, so that a proof need not write it: what was earned so far less what was paid.
    function feesEarned() public view returns (uint256) {
        Counters.Values memory at = counters.unpack();
        return (at.lastToken - NATIVE) * listingFee + at.queueProven * queueFee - feesPaid;
    }

    function openRequest(uint8 kind, uint256 idx, address requester) public view returns (uint256 index) {
        index = lastRequest[requestKey(kind, idx, requester)];
        if (index <= counters.unpack().queueProven) index = 0;
    }

    // ---- internals ----

    /// Shape of a circuit that exists.
    function shapeOf(uint256 circuit) internal view returns (uint256) {
        uint256 pair = circuit < 5 ? (circuit < 3 ? shapes12 : shapes34) : (circuit < 7 ? shapes56 : shapes78);
        return circuit & 1 == 1 ? pair & type(uint128).max : pair >> 128;
    }

    function requestKey(uint8 kind, uint256 idx, address requester) internal pure returns (uint256) {
        return uint256(kind) << 184 | idx << 160 | uint160(requester);
    }

    /// What the contract counts, unless it is frozen.
    function live() internal view returns (Counters.Values memory at) {
        uint256 slot = counters;
        if (slot.isFrozen()) revert IsFrozen();
        at = slot.unpack();
    }

    function mark(mapping(uint256 word => uint256) storage bitmap, uint256 place) internal returns (bool fresh) {
        uint256 bit = 1 << (place & 255);
        uint256 bits = bitmap[place >> 8];
        fresh = bits & bit == 0;
        if (fresh) bitmap[place >> 8] = bits | bit;
    }

    function isMarked(mapping(uint256 word => uint256) storage bitmap, uint256 place) internal view returns (bool) {
        return bitmap[place >> 8] >> (place & 255) & 1 == 1;
    }

    /// Number of a proven batch whose operations these are.
    function requireProven(Record calldata record, uint256[] calldata choices, uint256[] calldata words) internal view returns (uint256 number) {
        number = record.header.number;
        if (number == 0 || number > counters.unpack().proven) revert NotProven(number);
        if (Challenges.recordHash(record) != batchHash[number]) revert RecordMismatch(number);
        if (keccak256(abi.encode(choices, words)) != record.header.opsHash) revert OperationsMismatch(number);
    }

    /// The entries must follow the one at `from` as they were queued: their digests are chained. An entry beyond the queue's end has digest 0, which no
    /// chain ends in.
    function requireQueued(uint256 from, QueueEntry[] calldata entries) internal view returns (uint256 end, bytes32 digest) {
        end = from + entries.length;
        digest = queueDigest[from];
        if (entries.length == 0) return (end, digest);
        for (uint256 i; i < entries.length; ++i) {
            digest = Challenges.queueDigest(digest, Challenges.sentEntryHash(entries[i]));
        }
        if (digest != queueDigest[end]) revert QueueMismatch();
    }

    function payNative(address to, uint256 amount) internal {
        (bool ok,) = to.call{value: amount}("");
        if (!ok) revert TransferFailed(NATIVE);
    }

    function requirePoint(uint256 number, Point point, uint256[2] calldata coordinates) internal pure {
        (uint256 x, uint256 y) = Bn254.coordinates(coordinates);
        if (!Bn254.isOnCurve(x, y)) revert PointNotOnCurve(number, point, x, y);
    }
}
