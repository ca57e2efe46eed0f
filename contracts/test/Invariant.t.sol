// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {IRollup} from "../src/IRollup.sol";
import {TestToken} from "../src/TestToken.sol";
import {Fixture} from "./support/Fixture.sol";
import {OddToken} from "./support/Strangers.sol";

/// @title Everything that people do to the contract, in any order
/// @dev Deposits come at any time, behind the fixtures' own. Batches follow the fixtures, because only those have proofs. What must fail is tried as well,
/// and counted as a fault if it does not.
contract Town is Fixture {
    uint256 private constant ACTORS = 5;

    /// Token 3, which keeps a tenth of every transfer.
    OddToken internal odd;
    mapping(uint16 token => uint256) public cameIn;
    mapping(uint16 token => uint256) public wentOut;
    /// Things that went through and must not have.
    uint256 public faults;

    /// The fixtures, read once: parsing the file in every call would take most of the time.
    bytes[] private commits;
    bytes[] private proofs;
    uint256[][] private words;

    function open() external {
        vm.deal(address(this), 2 * LISTING_FEE);
        deployWithQueue();
        odd = new OddToken();
        odd.keep(10);
        rollup.listToken{value: LISTING_FEE}(address(odd));
        for (uint256 number = 1; number <= BATCHES; ++number) {
            commits.push(vm.parseJsonBytes(json, path(number, "abi.commit")));
            proofs.push(vm.parseJsonBytes(json, path(number, "abi.proof")));
            words.push(vm.parseJsonUintArray(json, path(number, "words")));
        }
        for (uint256 index = 1; index <= ENTRIES; ++index) {
            IRollup.QueueEntry memory entry = entryOf(index);
            cameIn[entry.token] += entry.amount;
        }
    }

    function commitOf(uint256 number) internal view override returns (IRollup.Commit memory) {
        return abi.decode(commits[number - 1], (IRollup.Commit));
    }

    function proofOf(uint256 number) internal view override returns (IRollup.BatchProof memory) {
        return abi.decode(proofs[number - 1], (IRollup.BatchProof));
    }

    function wordsOf(uint256 number) internal view override returns (uint256[] memory) {
        return words[number - 1];
    }

    function oldCommitments(uint256 number) internal view override returns (uint256[6] memory empty) {
        return number == 1 ? empty : proofOf(number - 1).record.header.commitments;
    }

    function actor(uint256 seed) private pure returns (address) {
        uint256 pick = seed % ACTORS;
        return pick == 0 ? ALICE : pick == 1 ? BOB : address(uint160(0xac0 + pick));
    }

    // ---- deposits ----

    function depositNative(uint256 seed, uint96 amount, uint256 key) external {
        uint256 value = QUEUE_FEE + 1 + amount;
        address sender = actor(seed);
        vm.deal(sender, sender.balance + value);
        vm.prank(sender);
        rollup.deposit{value: value}(1 + key % (R - 1), actor(seed >> 8));
        cameIn[NATIVE] += value - QUEUE_FEE;
    }

    function depositToken(uint256 seed, uint96 amount, uint256 key) external {
        (uint16 id, address erc20) = seed % 2 == 0 ? (TOKEN, address(token)) : (TOKEN + 1, address(odd));
        address sender = actor(seed >> 8);
        uint256 asked = 1 + uint256(amount);
        TestToken(erc20).mint(sender, asked);
        vm.deal(sender, sender.balance + QUEUE_FEE);
        if (id == TOKEN) {
            vm.prank(sender);
            token.approve(address(rollup), asked);
        }
        vm.prank(sender);
        rollup.depositToken{value: QUEUE_FEE}(id, asked, 1 + key % (R - 1), sender);
        cameIn[id] += id == TOKEN ? asked : asked - asked / 10;
    }

    /// @dev Coins that nobody deposited change no account.
    function donate(uint96 amount) external {
        token.mint(address(rollup), amount);
        vm.deal(address(rollup), address(rollup).balance + amount);
    }

    // ---- batches ----

    function commitNext() external {
        uint256 number = rollup.committed() + 1;
        if (number <= BATCHES) commit(commitOf(number));
    }

    function proveNext(uint256 count, uint256 repeated) external {
        uint256 open_ = rollup.committed() - rollup.proven();
        if (open_ == 0) return;
        // some of the call's batches may be proven already
        uint256 first = rollup.proven() + 1 - repeated % (rollup.proven() + 1);
        proveFixtures(first, rollup.proven() + 1 + count % open_);
    }

    function settleSome(uint256 number, uint256 item) external {
        if (rollup.proven() == 0) return;
        number = 1 + number % rollup.proven();
        uint256 withdrawals = commitOf(number).withdrawals.length;
        if (withdrawals == 0) return;
        item %= withdrawals;
        bool again = rollup.settled(number, item);
        IRollup.Record memory record = proofOf(number).record;
        try rollup.settle(record, choicesOf(number), wordsOf(number), item, 1) {
            if (again) ++faults;
        } catch {
            if (!again) ++faults;
        }
    }

    // ---- coins out ----

    function claim(uint256 seed, uint256 pick) external {
        (address account, uint16 id) = (actor(seed), uint16(1 + pick % 3));
        uint256 amount = rollup.claimable(id, account);
        vm.prank(account);
        try rollup.claim(id, account) {
            if (amount == 0) ++faults;
            wentOut[id] += amount;
        } catch {
            if (amount != 0) ++faults;
        }
    }

    function claimFees() external {
        if (rollup.feesEarned() == 0) return;
        vm.prank(OPERATOR);
        rollup.claimFees(address(0xfee));
    }

    // ---- replays ----

    function replayCommit(uint256 number) external {
        IRollup.Commit memory batch = commitOf(1 + number % BATCHES);
        if (batch.number == rollup.committed() + 1) return;
        vm.prank(OPERATOR, OPERATOR);
        try rollup.commit(batch) {
            ++faults;
        } catch {}
    }

    /// @dev The batch after the next.
    function commitOutOfOrder() external {
        uint256 number = rollup.committed() + 2;
        if (number > BATCHES) return;
        IRollup.Commit memory batch = commitOf(number);
        vm.prank(OPERATOR, OPERATOR);
        try rollup.commit(batch) {
            ++faults;
        } catch {}
    }

    /// @dev An honest call but for one value that only the pairing checks.
    function proveTampered(uint256 count, uint256 which, uint256 what) external {
        (uint256 proven, uint256 committed) = (rollup.proven(), rollup.committed());
        if (proven == committed) return;
        IRollup.BatchProof[] memory some = proofsOf(proven + 1, proven + 1 + count % (committed - proven));
        IRollup.BatchProof memory one = some[which % some.length];
        what %= 5;
        if (what == 0) one.e = addmod(one.e, 1, R);
        if (what == 1) one.z = addmod(one.z, 1, R);
        if (what == 2) one.delta = addmod(one.delta, 1, R);
        if (what == 3) one.opening[1] = one.opening[1] == 0 ? 2 : P - one.opening[1];
        if (what == 3 && one.opening[0] == 0) one.opening[0] = 1;
        if (what == 4) one.groth16[7] = P - one.groth16[7];
        try rollup.prove(oldCommitments(proven + 1), some) {
            ++faults;
        } catch (bytes memory reason) {
            if (bytes4(reason) != IRollup.ProofInvalid.selector) ++faults;
        }
    }

    function replayProof(uint256 number) external {
        if (rollup.proven() == 0) return;
        number = 1 + number % rollup.proven();
        try rollup.prove(oldCommitments(number), proofsOf(number, number)) {
            ++faults;
        } catch {}
    }

    // ---- what the invariants look at ----

    function balance(uint16 id) external view returns (uint256) {
        return id == NATIVE ? address(rollup).balance : id == TOKEN ? token.balanceOf(address(rollup)) : odd.balanceOf(address(rollup));
    }

    function claimableSum(uint16 id) external view returns (uint256 sum) {
        for (uint256 i; i < ACTORS; ++i) {
            sum += rollup.claimable(id, actor(i));
        }
    }

    function expectedRoot() external view returns (bytes32) {
        uint256 proven = rollup.proven();
        return proven == 0 ? vm.parseJsonBytes32(json, path(1, "oldRoot")) : newRoot(proven);
    }

    function queueFeesHeld() external view returns (uint256) {
        return (rollup.queueLength() - rollup.queueProven()) * QUEUE_FEE + rollup.feesEarned();
    }

    function contractUnderTest() external view returns (IRollup) {
        return rollup;
    }
}

/// @title Whatever happens, no coin leaves that did not come in
contract InvariantTest is Fixture {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    Town private town;

    function setUp() public {
        town = new Town();
        town.open();
        rollup = town.contractUnderTest();
    }

    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        bytes4[14] memory all = [
            Town.depositNative.selector,
            Town.depositToken.selector,
            Town.donate.selector,
            Town.commitNext.selector,
            // twice as likely, or few runs reach the withdrawals
            Town.commitNext.selector,
            Town.proveNext.selector,
            Town.proveNext.selector,
            Town.settleSome.selector,
            Town.claim.selector,
            Town.claimFees.selector,
            Town.replayCommit.selector,
            Town.commitOutOfOrder.selector,
            Town.proveTampered.selector,
            Town.replayProof.selector
        ];
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(town), new bytes4[](all.length));
        for (uint256 i; i < all.length; ++i) {
            targets[0].selectors[i] = all[i];
        }
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(town);
    }

    function invariant_coins_and_pointers() public view {
        for (uint16 id = 1; id <= 3; ++id) {
            vm.assertEq(rollup.escrow(id), town.cameIn(id) - town.wentOut(id), "escrow is what came in less what went out");
            vm.assertLe(town.claimableSum(id), rollup.escrow(id), "what can be claimed is there");
            vm.assertGe(town.balance(id), rollup.escrow(id) + (id == 1 ? town.queueFeesHeld() : 0), "the contract holds its escrow and the fees");
        }
        vm.assertLe(rollup.proven(), rollup.committed(), "proven before committed");
        vm.assertLe(rollup.queueProven(), rollup.queueCommitted(), "entries proven before committed");
        vm.assertLe(rollup.queueCommitted(), rollup.queueLength(), "entries committed before queued");
        vm.assertEq(rollup.stateRoot(), town.expectedRoot(), "root of the last proven batch");
        vm.assertTrue((rollup.pendingSince() == 0) == (rollup.proven() == rollup.committed()));
        vm.assertEq(town.faults(), 0, "something went through or failed that must not");
    }
}
