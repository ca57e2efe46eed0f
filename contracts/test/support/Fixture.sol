// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {ILedger, IRollup} from "../../src/IRollup.sol";
import {Operations} from "../../src/libraries/Operations.sol";
import {TestToken} from "../../src/TestToken.sol";
import {Harness} from "./Harness.sol";
import {Vm} from "./Vm.sol";

/// @title A deployment with the keys of fixtures/batches.json, and the eight batches proven for it
/// @dev Nothing is mocked: keys, queue, commits and proofs are what the Rust side made. Batches count from 1.
abstract contract Fixture {
    /// forge calls the functions of contracts that say so.
    bool public constant IS_TEST = true;

    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    uint256 internal constant R = 0x30644e72e131a029b85045b68181585d2833e84879b9709143e1f593f0000001;
    uint256 internal constant P = 0x30644e72e131a029b85045b68181585d97816a916871ca8d3c208c16d87cfd47;

    uint256 internal constant BATCHES = 8;
    uint256 internal constant ENTRIES = 6;
    uint16 internal constant NATIVE = 1;
    uint16 internal constant TOKEN = 2;
    uint256 internal constant LISTING_FEE = 0.01 ether;
    uint256 internal constant QUEUE_FEE = 0.0001 ether;
    address internal constant OPERATOR = address(0x0909);
    /// Holders of the fixtures: they deposit, own slots and get withdrawals.
    address internal constant ALICE = 0xA1A1a1a1A1A1A1A1A1a1a1a1a1a1A1A1a1A1a1a1;
    address internal constant BOB = 0xA3A3A3a3a3A3a3A3a3A3A3A3A3a3a3A3A3A3A3A3;

    /// What a slot's owner needs to leave.
    struct Exit {
        uint256 idx;
        uint256 dyn;
        address owner;
        uint256[2] opening;
    }

    /// Name of the file of fixtures.
    string internal fixtures;
    IRollup internal rollup;
    TestToken internal token;

    /// @dev Coins come back here: fees are sent from the test contract.
    receive() external payable {}

    /// @dev The contract as the fixtures want it, token 2 listed, nothing queued.
    function deploy() internal {
        deployFor("batches");
    }

    /// @dev The same for another file of fixtures.
    function deployFor(string memory file) internal {
        fixtures = file;
        vm.chainId(vm.parseJsonUint(json(), ".chainId"));
        address target = vm.parseJsonAddress(json(), ".contract");
        construct(target, params());
        rollup = IRollup(target);
        token = new TestToken();
        rollup.listToken{value: LISTING_FEE}(address(token));
    }

    /// @dev The same with all queue entries of the fixtures queued.
    function deployWithQueue() internal {
        deployWithQueue("batches", ENTRIES);
    }

    function deployWithQueue(string memory file, uint256 entries) internal {
        deployFor(file);
        for (uint256 index = 1; index <= entries; ++index) {
            enqueue(index);
        }
    }

    /// @dev Runs the constructor at an address of our choice: the domain depends on it. The code comes from forge's output, because naming the contract
    /// would compile it once more into every test.
    function construct(address target, ILedger.Params memory params_) internal {
        vm.etch(target, abi.encodePacked(vm.getCode("Rollup.sol:Rollup"), abi.encode(params_)));
        (bool ok, bytes memory result) = target.call("");
        if (!ok) {
            assembly ("memory-safe") {
                revert(add(result, 0x20), mload(result))
            }
        }
        vm.etch(target, result);
    }

    /// @dev From forge's output too: so a test need not be compiled again when only the libraries behind it change.
    function newHarness() internal returns (Harness harness) {
        bytes memory code = vm.getCode("Harness.sol:Harness");
        assembly ("memory-safe") {
            harness := create(0, add(code, 0x20), mload(code))
        }
        vm.assertTrue(address(harness) != address(0));
    }

    // ---- fixtures ----

    /// @dev Read anew each time: a file is nearer than as many words of storage.
    function json() internal view returns (string memory) {
        return vm.readFile(string.concat("test/fixtures/", fixtures, ".json"));
    }

    function params() internal view returns (ILedger.Params memory out) {
        out.k = vm.parseJsonUint(json(), ".params.k");
        out.operator = OPERATOR;
        out.listingFee = LISTING_FEE;
        out.queueFee = QUEUE_FEE;
        out.forceTimeout = 7 days;
        out.proveTimeout = 7 days;
        copy(out.alpha, ".params.alpha");
        copy(out.beta, ".params.beta");
        copy(out.tau, ".params.tau");
        uint256[] memory l0 = vm.parseJsonUintArray(json(), ".params.l0");
        for (uint256 i; i < 18; ++i) {
            out.l0[i] = l0[i];
        }
        out.circuits = new ILedger.VerifyingKey[](2);
        out.circuits[0] = abi.decode(vm.parseJsonBytes(json(), ".params.circuits[0]"), (ILedger.VerifyingKey));
        out.circuits[1] = abi.decode(vm.parseJsonBytes(json(), ".params.circuits[1]"), (ILedger.VerifyingKey));
    }

    function copy(uint256[2] memory to, string memory key) private view {
        uint256[] memory from = vm.parseJsonUintArray(json(), key);
        (to[0], to[1]) = (from[0], from[1]);
    }

    function copy(uint256[4] memory to, string memory key) private view {
        uint256[] memory from = vm.parseJsonUintArray(json(), key);
        (to[0], to[1], to[2], to[3]) = (from[0], from[1], from[2], from[3]);
    }

    function path(uint256 number, string memory field) internal pure returns (string memory) {
        return string.concat(".batches[", vm.toString(number - 1), "].", field);
    }

    function commitOf(uint256 number) internal view virtual returns (ILedger.Commit memory) {
        return abi.decode(vm.parseJsonBytes(json(), path(number, "abi.commit")), (ILedger.Commit));
    }

    function proofOf(uint256 number) internal view virtual returns (ILedger.BatchProof memory) {
        return abi.decode(vm.parseJsonBytes(json(), path(number, "abi.proof")), (ILedger.BatchProof));
    }

    /// @dev Proofs of batches first .. last.
    function proofsOf(uint256 first, uint256 last) internal view returns (ILedger.BatchProof[] memory proofs) {
        proofs = new ILedger.BatchProof[](last + 1 - first);
        for (uint256 i; i < proofs.length; ++i) {
            proofs[i] = proofOf(first + i);
        }
    }

    function oldCommitments(uint256 number) internal view virtual returns (uint256[6] memory out) {
        uint256[] memory from = vm.parseJsonUintArray(json(), path(number, "oldCommitments"));
        for (uint256 i; i < 6; ++i) {
            out[i] = from[i];
        }
    }

    function newRoot(uint256 number) internal view returns (bytes32) {
        return vm.parseJsonBytes32(json(), path(number, "newRoot"));
    }

    function wordsOf(uint256 number) internal view virtual returns (uint256[] memory) {
        return vm.parseJsonUintArray(json(), path(number, "words"));
    }

    function choicesOf(uint256 number) internal view returns (uint256[] memory) {
        return commitOf(number).choices;
    }

    function entryOf(uint256 index) internal view returns (ILedger.QueueEntry memory entry) {
        string memory at = string.concat(".queue[", vm.toString(index - 1), "]");
        entry.kind = uint8(vm.parseJsonUint(json(), string.concat(at, ".kind")));
        entry.sender = vm.parseJsonAddress(json(), string.concat(at, ".sender"));
        entry.token = uint16(vm.parseJsonUint(json(), string.concat(at, ".token")));
        entry.amount = uint112(vm.parseJsonUint(json(), string.concat(at, ".amount")));
        entry.idx = uint24(vm.parseJsonUint(json(), string.concat(at, ".idx")));
        entry.owner = vm.parseJsonAddress(json(), string.concat(at, ".owner"));
        entry.key = vm.parseJsonUint(json(), string.concat(at, ".key"));
    }

    /// @dev Occupied slots of the state after a batch: 1 and 2, then 3, then 40,000.
    function exitCount(uint256 number) internal view virtual returns (uint256) {
        return number == 0 ? 0 : number < 3 ? number + 1 : 4;
    }

    /// @dev From the state after a batch; places count from 0.
    function exitOf(uint256 number, uint256 place) internal view virtual returns (Exit memory out) {
        string memory at = path(number, string.concat("exits[", vm.toString(place), "]."));
        out.idx = vm.parseJsonUint(json(), string.concat(at, "idx"));
        out.dyn = vm.parseJsonUint(json(), string.concat(at, "dyn"));
        out.owner = address(uint160(vm.parseJsonUint(json(), string.concat(at, "owner"))));
        uint256[] memory opening = vm.parseJsonUintArray(json(), string.concat(at, "opening"));
        (out.opening[0], out.opening[1]) = (opening[0], opening[1]);
    }

    /// @dev Index of the last queue entry that the batches up to this one take.
    function lastEntryOf(uint256 number) internal view virtual returns (uint256) {
        return number < 3 ? 2 * number : ENTRIES;
    }

    /// @dev Entries first .. last of the queue.
    function entriesOf(uint256 first, uint256 last) internal view returns (ILedger.QueueEntry[] memory entries) {
        entries = new ILedger.QueueEntry[](last + 1 - first);
        for (uint256 i; i < entries.length; ++i) {
            entries[i] = entryOf(first + i);
        }
    }

    /// @dev On the curve of G2, outside its group of order r: x = 1.
    function strayG2() internal pure returns (uint256[4] memory) {
        return [
            uint256(0),
            1,
            0x0d1271953ed9ea0836846e70a1934187998c7f790cb4d7511b7f8da82de048a4,
            0x2869111d5381f072f8e2728fdb825a51aadd70e52c9830e9ab4b871c0531f1bb
        ];
    }

    // ---- storage ----

    /// @dev The slot that a getter has just read: call `vm.record()`, the getter, then this.
    function slotRead() internal returns (bytes32) {
        (bytes32[] memory reads,) = vm.accesses(address(rollup));
        return reads[reads.length - 1];
    }

    /// @dev Makes the contract believe that it stored a record: for states that no proof of the fixtures leads to.
    function pretendStored(uint256 number, bytes32 hash) internal {
        vm.record();
        rollup.batchHash(number);
        vm.store(address(rollup), slotRead(), hash);
        vm.assertEq(rollup.batchHash(number), hash);
    }

    // ---- steps ----

    /// @dev Sends a queue entry of the fixtures.
    function enqueue(uint256 index) internal {
        ILedger.QueueEntry memory entry = entryOf(index);
        uint256 value = QUEUE_FEE + (entry.token == NATIVE ? entry.amount : 0);
        vm.deal(entry.sender, entry.sender.balance + value);
        if (entry.kind == Operations.EXIT) {
            vm.prank(entry.sender);
            rollup.requestExit{value: value}(entry.idx);
        } else if (entry.kind == Operations.ROTATION) {
            vm.prank(entry.sender);
            rollup.requestRotation{value: value}(entry.idx, entry.key);
        } else if (entry.token == NATIVE) {
            vm.prank(entry.sender);
            rollup.deposit{value: value}(entry.key, entry.owner);
        } else {
            token.mint(entry.sender, entry.amount);
            vm.prank(entry.sender);
            token.approve(address(rollup), entry.amount);
            vm.prank(entry.sender);
            rollup.depositToken{value: value}(entry.token, entry.amount, entry.key, entry.owner);
        }
    }

    function commit(ILedger.Commit memory batch) internal {
        vm.prank(OPERATOR, OPERATOR);
        rollup.commit(batch);
    }

    /// @dev Commits batches first .. last.
    function commitFixtures(uint256 first, uint256 last) internal {
        for (uint256 number = first; number <= last; ++number) {
            commit(commitOf(number));
        }
    }

    /// @dev Proves batches first .. last in one call.
    function proveFixtures(uint256 first, uint256 last) internal {
        rollup.prove(oldCommitments(first), proofsOf(first, last));
    }

    function settleFixture(uint256 number, uint256 first, uint256 count) internal {
        rollup.settle(proofOf(number).record, choicesOf(number), wordsOf(number), first, count);
    }

    /// @dev Credits what batch `number` refunds among the entries first .. last.
    function settleRefundsFixture(uint256 number, uint256 first, uint256 last) internal {
        rollup.settleRefunds(proofOf(number).record, choicesOf(number), wordsOf(number), lastEntryOf(number), first, entriesOf(first, last));
    }

    /// @dev Nobody proves any more for a year, though somebody waits: a deposit of 1 wei is left alone.
    function freezeForGood() internal {
        rollup.deposit{value: QUEUE_FEE + 1}(9, BOB);
        vm.warp(block.timestamp + 365 days);
        rollup.freeze();
    }

    function revertTo(uint256 to) internal {
        ILedger.Record memory record;
        if (to > rollup.proven()) record = proofOf(to).record;
        vm.prank(OPERATOR);
        rollup.revertTo(to, record, lastEntryOf(to));
    }
}
